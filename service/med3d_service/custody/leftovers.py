"""What abandoned work left: fragments in the spool, originals that no row refers to, and copies of older claims."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import structlog
from sqlalchemy import select

from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivedInstanceRow
from med3d_service.storage.database import Database
from med3d_service.storage.tables import StudyRow, UploadRow
from med3d_service.studies.original_names import original_key, upload_of
from med3d_service.studies.working_copy.names import claim_of
from med3d_store.object_store import ObjectStore

log = structlog.get_logger()
LOOKED_UP_AT_ONCE = 500
MOST_WATCHED = 100_000
"""Of more than so many the others have to wait: they are watched in memory."""


@dataclass(frozen=True)
class _Fragment:
    path: Path
    changed_ns: int  # one that is still written is another one each time


@dataclass(frozen=True)
class _Orphan:
    key: str


class Leftovers:
    """Removes what this process has seen lie about, unchanged and unreferenced, for ``leftover_s``.

    That is measured by a clock that nobody sets. The times of files would not do: where the clock here runs ahead of
    the store's, or jumps, an original that was stored a moment ago looks old, and would go before its row is committed.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        store: ObjectStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._database, self._store = settings, database, store
        self._clock = clock
        self._since: dict[_Fragment | _Orphan, float] = {}

    def remove(self) -> int:
        """Look at everything once; how many were removed."""
        now = self._clock()
        orphans = chain(self._orphans(), self._older_copies())
        lying: Iterator[_Fragment | _Orphan] = islice(chain(self._fragments(), orphans), MOST_WATCHED)
        self._since = {one: self._since.get(one, now) for one in lying}
        old = [one for one, since in self._since.items() if now - since >= self._settings.leftover_s]
        for one in old:
            if isinstance(one, _Fragment):
                one.path.unlink(missing_ok=True)
            else:
                self._store.delete(one.key)
            del self._since[one]
        if old:
            log.info("leftovers_removed", count=len(old))
        return len(old)

    def _fragments(self) -> Iterator[_Fragment]:
        for path in self._settings.spool_dir.iterdir():
            with suppress(FileNotFoundError):  # its upload has ended meanwhile
                if path.is_file():
                    yield _Fragment(path, path.stat().st_mtime_ns)

    def _orphans(self) -> Iterator[_Orphan]:
        ids = (upload_of(stored.key) for stored in self._store.list("originals"))
        while some := list(islice(ids, LOOKED_UP_AT_ONCE)):
            yield from (_Orphan(original_key(each)) for each in sorted(self._unreferenced(some)))

    def _older_copies(self) -> Iterator[_Orphan]:
        """Give working copies that a later claim has overtaken, or whose study is no more."""
        found = ((stored.key, claim_of(stored.key)) for stored in self._store.list("working"))
        claims = ((key, *claim) for key, claim in found if claim is not None)
        while some := list(islice(claims, LOOKED_UP_AT_ONCE)):
            ids = {study_id for _, study_id, _ in some}
            columns = StudyRow.id, StudyRow.working_key, StudyRow.working_claim
            with self._database.read() as session:
                rows = {row.id: row for row in session.execute(select(*columns).where(StudyRow.id.in_(ids)))}
            for key, study_id, claim in some:
                row = rows.get(study_id)
                if row is None or (row.working_key != key and claim < row.working_claim):
                    yield _Orphan(key)

    def _unreferenced(self, ids: list[str]) -> set[str]:
        """Return those of ``ids`` that are neither of an upload nor of an instance that has arrived."""
        with self._database.read() as session:
            uploads = session.scalars(select(UploadRow.id).where(UploadRow.id.in_(ids))).all()
            arrived = session.scalars(
                select(ArrivedInstanceRow.upload_id).where(ArrivedInstanceRow.upload_id.in_(ids))
            ).all()
        return set(ids) - set(uploads) - set(arrived)
