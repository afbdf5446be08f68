"""Taking instances one by one: each is sealed, on disk and in the database before its sender is told so.

A study that arrives so is put together when it is stable (intake.settling); until then it is a row of ``arrivals``.
"""

import errno
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from med3d_contract.queues import CELERY_PRIORITY
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import Database, db_now
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.studies.arrivals.comparing import Comparison, identity_index
from med3d_service.studies.arrivals.entries import Entry, Finding
from med3d_service.studies.arrivals.journal import ArrivalJournal
from med3d_service.studies.arrivals.originals import Originals
from med3d_service.studies.arrivals.routing import RoutingRules
from med3d_service.studies.arrivals.settling import Completion, Settling
from med3d_service.studies.dicom_instances.instance_headers import (
    HEAD_BYTES,
    InstanceHeaders,
    InstanceRefused,
    read_headers,
)
from med3d_service.studies.identity import TailDigest
from med3d_store.object_store import ObjectStore, StoreFullError

log = structlog.get_logger()
__all__ = ["Arrival", "Arrivals", "Arrived", "Completion", "InstanceRefused", "Readable", "Source", "StoreFull"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class StoreFull(Exception):  # noqa: N818 - reads as what it says
    """There is too little room to take another instance; nothing of it was left behind."""


class Readable(Protocol):
    """A binary file, or what reads like one."""

    def read(self, size: int, /) -> bytes:
        """Return the next ``size`` bytes; less only at the end."""
        ...


@dataclass(frozen=True)
class Source:
    """Where an instance comes from. ``peer``: the calling AE title or the peer's name, which routing rules ask for.

    ``called``: the AE title of ours that it was sent to, where it was.
    ``only_study_uid``: the study that the sender says all of it is of; empty where it says nothing.
    """

    kind: str  # dimse, stow, orthanc, pull, folder
    site: str
    peer: str = ""
    address: str = ""
    called: str = ""
    only_study_uid: str = field(default="", repr=False)


class Arrived(StrEnum):
    """What became of an instance."""

    STORED = "stored"
    KNOWN = "known"
    CONFLICT = "conflict"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Arrival:
    """The outcome. ``code`` says why an instance is kept in CONFLICT: inconsistent_study or several_patients."""

    outcome: Arrived
    arrival_id: str | None
    code: str | None = None
    study_uid: str = field(default="", repr=False)  # as it was sent; for those who may ask the sender about it


class Arrivals:
    """The one way in for single instances; safe among threads and among processes."""

    def __init__(
        self,
        settings: Settings,
        originals_key: bytes,
        database: Database,
        store: ObjectStore,
        vault: IdentifierVault,
        rules: RoutingRules,
        settling: Settling,
        rules_of_titles: Mapping[str, RoutingRules] = MappingProxyType({}),
    ) -> None:
        self._settings = settings
        self._key = originals_key
        self._database = database
        self._store = store
        self._vault = vault
        self._rules, self._rules_of_titles = rules, rules_of_titles
        self._originals = Originals(store, settings.spool_dir, originals_key, settings.leftover_s)
        self._journal = ArrivalJournal(database)
        self._comparison = Comparison(database, store, vault, settings, originals_key)
        self._settling = settling

    def receive_instance(self, stream: Readable | bytes, source: Source) -> Arrival:
        """Take one DICOM file (PS3.10 with group 0002). On return it is durable: file and row.

        Raises InstanceRefused for what is not taken, StoreFull where there is no room.
        """
        with _translate_disk_full():
            self._require_room()
            file = io.BytesIO(stream) if isinstance(stream, bytes) else stream
            head = file.read(HEAD_BYTES)
            headers = read_headers(head)
            if source.only_study_uid not in {"", headers.study_uid}:
                raise InstanceRefused("other_study")
            if not headers.is_input:
                return Arrival(Arrived.IGNORED, None)
            return replace(self._recorded(self._stored(head, file, headers, source)), study_uid=headers.study_uid)

    def expect(self, site: str, study_uid: str, instances: int) -> None:
        """Note how many instances the PACS holds of a study: as soon as so many have come it is stable."""
        self._note(site, study_uid, expected=instances)

    def mark_complete(self, site: str, study_uid: str) -> Completion:
        """Take a study as stable now. A usable T1 may still be waited for."""
        self._note(site, study_uid, whole_at=db_now())
        return self._settle(site, study_uid)

    def mark_final(self, site: str, study_uid: str) -> Completion:
        """Take a study as stable now, and as all that will ever come: it is answered with what there is."""
        self._note(site, study_uid, whole_at=db_now(), final_at=db_now())
        return self._settle(site, study_uid)

    def status(self, site: str, study_uid: str) -> ArrivalRow | None:
        """Return the study's row, if anything of it has arrived."""
        with self._database.read() as session:
            index = self._vault.blind_index("study_uid", study_uid)
            query = select(ArrivalRow).where(ArrivalRow.site == site, ArrivalRow.study_index == index)
            return session.scalars(query).one_or_none()

    def knows(self, site: str, study_uid: str, sop_uids: Sequence[str] = (), digest: str | None = None) -> bool:
        """Tell whether these instances are here (as ``digest`` says, if given), nothing of their study at fault."""
        row = self.status(site, study_uid)
        if row is None or row.fault is not None:
            return False
        wanted = {self._vault.blind_index("sop_uid", one) for one in sop_uids}
        with self._database.read() as session:
            here = select(ArrivedInstanceRow.sop_index, ArrivedInstanceRow.digest).where(
                ArrivedInstanceRow.arrival_id == row.id
            )
            rows = session.execute(here).all()
        found = {sop_index for sop_index, held in rows if digest in {None, held}}
        return wanted <= found

    def close(self) -> None:
        """Leave no file behind that was made ahead of time."""
        self._originals.close()
        self._comparison.close()

    def _note(self, site: str, study_uid: str, **values: object) -> None:
        index = self._vault.blind_index("study_uid", study_uid)
        with self._database.write() as session:
            session.execute(
                update(ArrivalRow)
                .where(ArrivalRow.site == site, ArrivalRow.study_index == index)
                .values(**values)
                .execution_options(synchronize_session=False)
            )

    def _settle(self, site: str, study_uid: str) -> Completion:
        row = self.status(site, study_uid)
        return Completion(None, None, None) if row is None else self._settling.settle(row.id)

    def _require_room(self) -> None:
        if shutil.disk_usage(self._settings.spool_dir).free < self._settings.reserve_bytes:
            raise StoreFull

    def _require_size(self, size_bytes: int) -> None:
        if size_bytes > self._settings.max_instance_bytes:
            raise InstanceRefused("instance_too_large")

    def _stored(self, head: bytes, file: Readable, headers: InstanceHeaders, source: Source) -> Entry:
        """Seal the instance and have it in the store."""
        with self._originals.sealing(source.site) as original:
            digester = TailDigest(headers.dataset_offset)
            piece = head
            while piece:
                digester.update(piece)
                original.writer.write(piece)
                self._require_size(original.writer.size_bytes)
                piece = file.read(HEAD_BYTES)
            stored = self._originals.store(original)
        verdict = self._rules_of_titles.get(source.called, self._rules).judge(headers, source.peer)
        rule = verdict.rule if verdict.is_wanted else None
        index = self._vault.blind_index
        return Entry(
            site=source.site,
            source=source.kind,
            study_index=index("study_uid", headers.study_uid),
            patient_index=index("patient_id", headers.patient_id) if headers.patient_id else None,
            sop_index=index("sop_uid", headers.sop_uid),
            digest=digester.finish(),
            upload_id=original.upload_id,
            stored_sha256=stored.sha256,
            stored_bytes=stored.size_bytes,
            size_bytes=original.writer.size_bytes,
            rule=None if rule is None else rule.name,
            priority=None if rule is None else CELERY_PRIORITY[rule.priority],
            bundle=None if rule is None else rule.bundle,
            identity_index=identity_index(self._vault, headers),
            peer=source.peer,
            sender=f"{source.peer}@{source.address}"[:100],
            called=source.called[:16],
        )

    def _recorded(self, entry: Entry) -> Arrival:
        try:
            recorded = self._journal.record(entry)
            while recorded.finding is Finding.SAME_UID:
                entry = self._comparison.compared(entry, recorded.rivals)
                recorded = self._journal.record(entry)
        except OperationalError as error:
            if _is_full(error):  # then it surely is not committed; else it may be, and the sweep finds out
                self._originals.remove(entry.upload_id)
            raise
        if recorded.is_stale:
            log.info("stale_identity", arrival_id=recorded.arrival_id, sender=entry.sender)
        if recorded.finding is Finding.KNOWN:
            self._originals.remove(entry.upload_id)
            return Arrival(Arrived.KNOWN, recorded.arrival_id)
        outcome = Arrived.STORED if recorded.fault is None else Arrived.CONFLICT
        return Arrival(outcome, recorded.arrival_id, recorded.fault)


@contextmanager
def _translate_disk_full() -> Iterator[None]:
    """Translate what a full disk says, to file or database."""
    try:
        yield
    except StoreFullError as error:
        raise StoreFull from error
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull from error
        raise
    except OperationalError as error:
        if _is_full(error):
            raise StoreFull from error
        raise


def _is_full(error: OperationalError) -> bool:
    return "disk is full" in str(error.orig) or "No space left" in str(error.orig)
