"""Runs that have ended, of studies with identifiers, for tests of what is shown of them."""

from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow
from rig.service.parts import LEASES, add_run, completed, failed, preprocessed, worker


def answered(api, *, ending="completed", **identifiers):
    """The id of a run with a number (or a fault), of a study with these identifiers."""
    run_id = add_run(api.service.database)
    with api.service.database.write() as session:
        first = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        if ending == "failed":
            transitions.store_outcome(session, run_id, failed(first.attempt, retryable=False), LEASES)
        else:
            transitions.store_preprocessed(session, run_id, preprocessed(first.attempt))
            (second,) = transitions.claim_predict(session, worker(), 1, LEASES)
            transitions.store_outcome(session, run_id, completed(second.attempt), LEASES)
        study_id = session.query(RunRow).where(RunRow.id == run_id).one().study_id
        for kind, text in identifiers.items():
            api.service.vault.keep(session, study_id, kind, text)
    return run_id
