"""Runs that have ended, of studies with identifiers, for tests of what is shown of them."""

from collections.abc import Sequence

from sqlalchemy import update

from med3d_service.cohorts.figures import draw_figures
from med3d_service.cohorts.tables import FiguresRow
from med3d_service.cohorts.trajectory import answered_runs
from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Caller, Role
from rig.service.api import Api
from rig.service.parts import LEASES, add_run, completed, failed, preprocessed, worker
from rig.service.work import BUNDLE

EVERYBODY = Caller("key", "x", Role.VIEWER, clinical=True, site="default", every_site=True, address="local")


def answered(api: Api, *, ending: str = "completed", **identifiers: str) -> str:
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


def visited(
    api: Api, subject: str, ages: Sequence[float], scanners: Sequence[str], first_year: int = 2026, **identifiers: str
) -> tuple[str, list[str]]:
    """(subject id, run ids) of a person seen on a 1 March at each of ``ages``, by these makers' scanners."""
    years = [first_year + round(age - ages[0]) for age in ages]
    runs = [answered(api, subject=subject, study_date=f"{year}0301", **identifiers) for year in years]
    subject_id = api.service.vault.blind_index("subject", subject)
    draw_figures(api.service.database, answered_runs(EVERYBODY, subject_id, BUNDLE.digest))
    with api.service.database.write() as session:
        for run_id, age, maker in zip(runs, ages, scanners, strict=True):
            study_id = session.query(RunRow).where(RunRow.id == run_id).one().study_id
            session.execute(update(StudyRow).where(StudyRow.id == study_id).values(stated_age=age))
            session.execute(update(FiguresRow).where(FiguresRow.run_id == run_id).values(manufacturer=maker))
    return subject_id, runs
