"""Checking the ledger: by `med3d ledger`, and every night by the scheduler, beside whatever else is going on."""

import threading
import time

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from med3d_service.custody.ledger.objects import check_objects
from med3d_service.custody.ledger.report import LedgerReport, LedgerTally
from med3d_service.custody.ledger.rows import check_rows
from med3d_service.custody.ledger.tables import LedgerCheckRow
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivedInstanceRow
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.tables import InstanceRow, RunRow, StudyRow
from med3d_store.object_store import ObjectStore

log = structlog.get_logger()
SHORTEST_SLACK_S = 60.0


class Ledger:
    """The accounts of one database and its store. Changes nothing but the list of checks."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._nightly: threading.Thread | None = None

    def check(self, *, digests: bool = False, lease_slack_s: float | None = None) -> LedgerReport:
        """Look at everything, and leave what was found for GET /metrics; with ``digests`` every object is read."""
        began = time.monotonic()
        tally = LedgerTally()
        slack_s = max(SHORTEST_SLACK_S, 4 * self._settings.lease_s) if lease_slack_s is None else lease_slack_s
        with self._database.read() as session:
            check_rows(session, tally, patience_s=self._settings.ledger_patience_s, lease_slack_s=slack_s)
            studies, runs = _count(session, StudyRow.seq), _count(session, RunRow.seq)
            instances = _count(session, InstanceRow.digest) + _count(session, ArrivedInstanceRow.digest)
        check_objects(self._database, self._store, self._settings.spool_dir, tally, digests=digests)
        report = LedgerReport(
            studies=studies,
            runs=runs,
            instances=instances,
            duration_s=time.monotonic() - began,
            digests_verified=digests,
            counts=dict(sorted(tally.counts.items())),
            findings=tuple(tally),
        )
        self._record(report)
        return report

    def check_if_due(self) -> bool:
        """Start a check in the background when the last one is ``ledger_every_s`` old; whether one was started."""
        every_s = self._settings.ledger_every_s
        if not every_s or (self._nightly is not None and self._nightly.is_alive()):
            return False
        with self._database.read() as session:
            last = session.scalars(select(func.max(LedgerCheckRow.checked_at))).one()
            if last is not None and now_of(session) - last < every_s:
                return False
        self._nightly = threading.Thread(target=self._check_and_tell, name="ledger", daemon=True)
        self._nightly.start()
        return True

    def _check_and_tell(self) -> None:
        try:
            report = self.check()
        except Exception:  # the edge of this thread: tomorrow is another night
            log.exception("ledger_not_checked")
            return
        told = log.info if report.balances else log.error
        told("ledger_balances" if report.balances else "ledger_out_of_balance", **report.counts)

    def _record(self, report: LedgerReport) -> None:
        with self._database.write() as session:
            session.add(
                LedgerCheckRow(
                    checked_at=now_of(session),
                    duration_s=report.duration_s,
                    studies=report.studies,
                    runs=report.runs,
                    instances=report.instances,
                    findings=report.counts,
                )
            )


def _count(session: Session, column: object) -> int:
    return int(session.execute(select(func.count(column))).scalar_one())  # type: ignore[arg-type]
