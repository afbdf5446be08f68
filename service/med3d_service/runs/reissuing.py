"""An answer made anew for the same study, because who the patient is was corrected."""

import uuid

import structlog
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_service.runs.queueing.enqueuing import enqueue
from med3d_service.runs.reuse import prepared_again
from med3d_service.runs.superseding import withdraw_run
from med3d_service.runs.views import priority_of
from med3d_service.storage.tables import RunRow, StudyRow

log = structlog.get_logger()
REISSUED = "identity_corrected"
ANSWERED = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED})


def reissue(session: Session, study: StudyRow, run: RunRow, *, also_unanswered: bool) -> bool:
    """Withdraw an answered run and let a new one stand for it, begun where its tensor allows; whether there is one.

    also_unanswered: a run under way began with what was corrected, and is begun anew. Where retention has removed both
    tensor and images the answer is withdrawn, and none can be made.
    """
    under_way = not RunStatus(run.status).is_terminal
    if run.status not in ANSWERED and not (under_way and also_unanswered):
        return False
    prepared = prepared_again(run)
    if prepared is None and study.input_removed_at is not None:
        withdraw_run(session, run, None)
        log.warning("answer_not_made_anew", run_id=run.id, study_id=study.id)
        return False
    run_id = str(uuid.uuid4())
    withdraw_run(session, run, run_id)
    enqueue(
        session,
        study.id,
        run.bundle_digest,
        run_id=run_id,
        priority=priority_of(run),
        chosen_series=run.chosen_series,
        prepared=prepared,
        code=REISSUED,
    )
    return True
