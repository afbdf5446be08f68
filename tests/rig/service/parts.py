"""Parts of the service for tests that need no process: a database, recorded studies, a broker in memory."""

import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from med3d_contract.results import BundleRef, Failure, Priority, Refusal, RunStatus
from med3d_contract.work import (
    Completed,
    Failed,
    Findings,
    PreparedFindings,
    Preprocessed,
    PreprocessedObject,
    Refused,
    WorkerIdentity,
)
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.endings import Leases
from med3d_service.runs.queueing.dispatch import BrokerAwayError
from med3d_service.runs.queueing.enqueuing import enqueue
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, upgrade_schema
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import guard_for
from med3d_service.storage.opening import open_database as guarded
from med3d_service.storage.store_identity import establish_store
from med3d_service.storage.tables import StudyRow
from med3d_service.trust.audit import AuditTrail
from med3d_service.trust.establishing import establish_trust
from rig.service.schema import lay_schema
from rig.service.work import BUNDLE, FINDINGS, PROVENANCE, result

LEASES = Leases(lease_s=60.0, max_tries=3)


def migrated(data_dir: Path, **settings: Any) -> Settings:
    """Settings whose database has its schema, and whose site key is there."""
    made = Settings(data_dir=data_dir, **settings)
    made.spool_dir.mkdir(parents=True, exist_ok=True)
    keys = load_keys(made)
    if not lay_schema(made):
        upgrade_schema(made)
    guard = guard_for(made, keys)
    with closing(guarded(made, keys, guard)) as database:
        establish_store(made, database)
        establish_trust(database, guard, AuditTrail(database, keys.audit))
    return made


def open_database(data_dir: Path, **settings: Any) -> Database:
    """A database with its schema."""
    return guarded(migrated(data_dir, **settings))


def worker(name: str = "worker-1", bundles: tuple[BundleRef, ...] = (BUNDLE,)) -> WorkerIdentity:
    """A worker that carries BUNDLE."""
    return WorkerIdentity(worker_id=name, software={}, providers=(), bundles=bundles)


def add_study(session: Session, working_status: str = "ready") -> str:
    """A study as the courier left it; its id."""
    study = StudyRow(
        id=str(uuid.uuid4()),
        site="default",
        digest=uuid.uuid4().hex * 2,
        created_at=0.0,
        files=1,
        skipped_files=0,
        working_status=working_status,
        working_key="working/x.tar",
        working_sha256="0" * 64,
        working_tries=0,
    )
    session.add(study)
    session.flush()
    return study.id


def add_run(
    database: Database,
    priority: Priority = Priority.ROUTINE,
    working_status: str = "ready",
    bundle: BundleRef = BUNDLE,
) -> str:
    """A queued run of a new study; its id."""
    with database.write() as session:
        register_bundles(session, [bundle])
        study_id = add_study(session, working_status)
        return enqueue(session, study_id, bundle.digest, run_id=str(uuid.uuid4()), priority=priority).id


def preprocessed(attempt: int, **findings: Any) -> Preprocessed:
    """What a preprocess stage leaves; ``findings`` differ from the usual ones."""
    return Preprocessed(
        attempt=attempt,
        tensor=PreprocessedObject(key="tensors/x.npz", sha256="0" * 64),
        findings=PreparedFindings(**(dict(FINDINGS) | findings)),
        acquisition={},
        review_reasons=(),
    )


def completed(attempt: int) -> Completed:
    """A result."""
    return Completed(attempt=attempt, result=result(), findings=Findings(provenance=PROVENANCE))


def refused(attempt: int, code: str = "not_a_head", **findings: Any) -> Refused:
    """A refusal; ``findings`` differ from the usual ones."""
    refusal = Refusal(code=code, reason="This is no head.")
    return Refused(attempt=attempt, refusal=refusal, findings=Findings(**(dict(FINDINGS) | findings)))


def failed(attempt: int, retryable: bool, code: str = "out_of_memory") -> Failed:
    """A fault."""
    return Failed(attempt=attempt, failure=Failure(code=code, reason="A reason.", retryable=retryable))


class MemoryBroker:
    """Remembers what was sent; ``away`` makes it a broker that is down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, int]] = []
        self.away = False
        self.in_queue = 0

    def send(self, run_id: str, status: RunStatus, priority: int) -> None:
        self.check()
        self.sent.append((run_id, str(status), priority))

    def send_appraisal(self, study_id: str) -> None:
        self.check()
        self.sent.append((study_id, "appraisal", 3))

    def send_explanation(self, run_id: str) -> None:
        self.check()
        self.sent.append((run_id, "explanation", 3))

    def send_volumes(self, run_id: str) -> None:
        self.check()
        self.sent.append((run_id, "volumes", 3))

    def queue_depth(self, status: RunStatus, priority: int) -> int:
        self.check()
        return self.in_queue

    def check(self) -> None:
        if self.away:
            raise BrokerAwayError("gone")
