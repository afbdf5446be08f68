"""Cohorts in a database, and members brought to answers as workers would."""

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.cohorts import CohortDraft
from med3d_contract.results import BundleRef, Failure, Refusal
from med3d_contract.work import Completed, Failed, Findings, Outcome, Refused, WorkerIdentity
from med3d_service.cohorts import members
from med3d_service.cohorts.tables import CohortMemberRow, CohortRow
from med3d_service.runs import transitions
from med3d_service.runs.bundles import note_preprocessing, register_bundles
from med3d_service.storage.database import Database
from med3d_service.storage.tables import RunRow
from rig.service.parts import LEASES, add_study, preprocessed, worker
from rig.service.work import BUNDLE, PROVENANCE, result

NEXT_BUNDLE = BundleRef(name="bundle", version="2", digest="c" * 64)
CARRIES_BOTH = worker(bundles=(BUNDLE, NEXT_BUNDLE))


def new_cohort(
    database: Database, count: int, name: str | None = None, working_status: str = "ready", **draft: Any
) -> CohortRow:
    """A cohort of new studies, and two bundles that preprocess alike; its row."""
    with database.write() as session:
        register_bundles(session, [BUNDLE, NEXT_BUNDLE])
        note_preprocessing(session, {BUNDLE.digest: "p" * 64, NEXT_BUNDLE.digest: "p" * 64})
        made = members.create_cohort(session, "default", CohortDraft(name=name or uuid.uuid4().hex, **draft))
        add_members(session, made, [add_study(session, working_status) for _ in range(count)])
        return made


def add_members(session: Session, cohort: CohortRow, study_ids: Iterable[str]) -> None:
    session.add_all(CohortMemberRow(cohort_id=cohort.id, study_id=study_id, added_at=0.0) for study_id in study_ids)
    session.flush()


def runs_of(database: Database, bundle: BundleRef = BUNDLE) -> list[RunRow]:
    """The runs by a bundle in the order in which they were made."""
    with database.read() as session:
        return list(session.scalars(select(RunRow).where(RunRow.bundle_digest == bundle.digest).order_by(RunRow.seq)))


def prepare(database: Database, run_id: str, identity: WorkerIdentity = CARRIES_BOTH) -> None:
    """Bring a queued run to where it waits for prediction."""
    with database.write() as session:
        attempt = transitions.claim_preprocess(session, run_id, identity, LEASES).attempt
        transitions.store_preprocessed(session, run_id, preprocessed(attempt))


def predict(
    database: Database,
    outcome_of: Callable[[RunRow], float | str],
    limit: int = 64,
    identity: WorkerIdentity = CARRIES_BOTH,
) -> None:
    """Take what waits for prediction and end it; ``outcome_of(run)`` is a brain age, a refusal's or a fault's code."""
    with database.write() as session:
        for run in transitions.claim_predict(session, identity, limit, LEASES):
            transitions.store_outcome(session, run.id, _outcome(run, outcome_of(run)), LEASES)


def _outcome(run: RunRow, said: float | str) -> Outcome:
    if not isinstance(said, str):
        return Completed(attempt=run.attempt, result=result(said), findings=Findings(provenance=PROVENANCE))
    if said.startswith("broken"):
        return Failed(attempt=run.attempt, failure=Failure(code=said, reason="Broken.", retryable=False))
    refusal = Refusal(code=said, reason="No.")
    return Refused(attempt=run.attempt, refusal=refusal, findings=Findings())
