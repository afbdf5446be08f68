"""Workers that fell silent are told of once each, in the log and as a metric, whoever was to see them end."""

import structlog
from sqlalchemy import select, update

from med3d_service.storage.counters import add_to_counters
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.tables import BeatRow, WorkerRow

log = structlog.get_logger()

WORKERS_SILENT = ("workers_silent", "")
LEASES_ENDED = ("leases_ended", "")
"""Counters, by name and label."""


class SilentWorkers:
    """What one scheduler has seen of silence. Several of them tell of a worker once: a column of its row marks it."""

    def __init__(self, database: Database, silent_s: float) -> None:
        self._database, self._silent_s = database, silent_s
        self._suspected: set[str] = set()

    def tell(self) -> list[str]:
        """Tell of workers that were silent at the last call, too, and return their ids.

        Twice, because the API may have been away: then all were silent, and greet it anew within a second or two.
        """
        with self._database.write() as session:
            beat = session.get(BeatRow, "api")
            now = now_of(session)
            if beat is None or now - beat.beat_at > self._silent_s:
                self._suspected.clear()
                return []
            silent = WorkerRow.told_silent.is_(False), WorkerRow.seen_at < now - self._silent_s
            marked = (
                update(WorkerRow)
                .where(*silent, WorkerRow.worker_id.in_(self._suspected))
                .values(told_silent=True)
                .returning(WorkerRow.worker_id)
            )
            told = sorted(session.scalars(marked))
            self._suspected = set(session.scalars(select(WorkerRow.worker_id).where(*silent)))
            if told:
                add_to_counters(session.connection(), {WORKERS_SILENT: len(told)})
        for worker_id in told:
            log.warning("worker_silent", worker_id=worker_id, silent_s=self._silent_s)
        return told
