"""A new site key: what the old one sealed is sealed anew, and the old one opens nothing more.

Originals and reports are encrypted anew, object by object; identifiers where they have no key of their own; rows that
grant or prove, the audit trail's head and the sealed counter get seals under the new key. The trail's entries stay as
they are: the first entry under the new key seals their end. The new key lies in ``site.key.next`` until all is done,
and while it lies there nothing else starts. Broken off anywhere, nothing is lost: the next call ends it.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from sqlalchemy import Select, literal, select

from med3d_service.custody.key_rotation import require_newest, seal_identifiers_anew
from med3d_service.results.reports.kept import KeptReports, ReportDamagedError
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import Database
from med3d_service.storage.guard import Guard
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import (
    SiteKeys,
    identifier_keys,
    keys_of,
    next_key_file,
    put_in_place,
    rotated_text,
    site_key_text,
    write_secret,
)
from med3d_service.storage.opening import guard_for, open_database
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.storage.sealed import (
    CHUNK_BYTES,
    FIRST_PIECE_BYTES,
    ObjectName,
    SealBrokenError,
    SealedReader,
    SealedWriter,
    opens_first_chunk,
)
from med3d_service.storage.sealed_counter import CounterBrokenError
from med3d_service.storage.store_identity import open_store
from med3d_service.storage.tables import (
    ApiKeyRow,
    BeatRow,
    BundleRow,
    CalibrationRow,
    ReportRow,
    RunRow,
    SealedRow,
    StudyRow,
    UploadRow,
    VerdictRow,
)
from med3d_service.studies.original_names import original_key
from med3d_service.trust.access.session_tables import SessionRow, SignInLinkRow
from med3d_service.trust.audit import Action, AuditEvent, AuditTrail, TrailBrokenError, command_line
from med3d_service.trust.audit.alerts import record_alert
from med3d_service.trust.audit.tables import AuditRow
from med3d_service.trust.establishing import CounterMissingError, prove_trail
from med3d_store.object_store import ObjectMissingError, ObjectStore, file_sha256

ROWS_AT_ONCE = 500
LONGEST_BEAT_S = 6.0
"""A service that lives says so every 2 s."""
SEALED_TABLES: tuple[type[SealedRow], ...] = (
    ApiKeyRow, BundleRow, CalibrationRow, SessionRow, SignInLinkRow, VerdictRow,
)  # fmt: skip
Told = Callable[[str, int], None]


class SiteKeyRotationError(Exception):
    """Nothing was changed, or what was begun waits for the next call; the message says what to do."""


@dataclass(frozen=True)
class SiteKeyRotated:
    """What was sealed anew. ``damaged``: objects that opened under no key before, either; they stay as they are.

    ``put_in_place``: the new key, where the settings give the site key and only the operator can replace it.
    """

    objects: int
    identifiers: int
    rows: int
    damaged: tuple[str, ...]
    put_in_place: Path | None


@dataclass(frozen=True)
class _Sealed:
    """An object that rows refer to, and the one name that it opens under."""

    name: ObjectName
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class _Parts:
    """What one of the two keys opens."""

    settings: Settings
    keys: SiteKeys
    guard: Guard
    database: Database
    trail: AuditTrail
    store: ObjectStore
    vault: IdentifierVault

    @classmethod
    def open(cls, settings: Settings, keys: SiteKeys) -> "_Parts":
        guard = guard_for(settings, keys)
        database = open_database(settings, keys, guard)
        trail = AuditTrail(database, keys.audit, keys.older_audit)
        return cls(settings, keys, guard, database, trail, open_store(settings, database), IdentifierVault(keys))


def rotate_site_key(
    settings: Settings,
    told: Told = lambda _what, _count: None,
    pause: Callable[[float], None] = time.sleep,
) -> SiteKeyRotated:
    """Seal everything under a new site key, made here; the service must not run, and does not start meanwhile.

    ``told`` hears of each step. Raises SiteKeyRotationError.
    """
    with _alone(settings), ExitStack() as opened:
        _require_none_left(settings)
        before = _Parts.open(settings, keys_of(settings, site_key_text(settings)))
        opened.enter_context(closing(before.database))
        _require_nobody_works(before.database, pause)
        made = next_key_file(settings)
        if not made.exists():
            _begin(before, made, told)
        now = _Parts.open(settings, _with_older_identifiers(keys_of(settings, made.read_text()), before.keys))
        opened.enter_context(closing(now.database))
        told("begun", 0)
        with now.database.write() as session:  # before anything is put into the trail under the new key
            now.trail.take_over(session, before.trail)
        told("head", 0)
        resealing = _Resealing(before, now, told)
        resealing.reseal_all()
        rows = _seal_rows_anew(before, now)
        told("rows", rows)
        identifiers = 0 if identifier_keys(settings) else _seal_identifiers(now)
        told("identifiers", identifiers)
        _end(before, now, told, {"objects": resealing.count, "damaged": len(resealing.damaged)})
        return SiteKeyRotated(resealing.count, identifiers, rows, tuple(resealing.damaged), _put_in_place(settings))


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold what only one rotation can. The kernel lets go of it when that one ends, however it ends."""
    descriptor = os.open(settings.data_dir / "site-key.lock", os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SiteKeyRotationError("another rotation of the site key is under way: let it end") from None
        yield


def _left_file(settings: Settings) -> Path:
    """Tell where the new key waits for the operator, where the settings give the site key."""
    return settings.data_dir / "site.key.new"


def _require_none_left(settings: Settings) -> None:
    left = _left_file(settings)
    if left.exists() and settings.site_key is not None:
        if left.read_text().split() != site_key_text(settings).split():
            raise SiteKeyRotationError(
                f"the site key was rotated, and the new one is not in place: put {left} in place of the secret"
            )
        left.unlink()


def _require_nobody_works(database: Database, pause: Callable[[float], None]) -> None:
    """Raise where an API is alive: it would go on with the old key. One that stopped a moment ago is waited for."""

    def beat() -> float:
        with database.read() as session:
            row = session.get(BeatRow, "api")
            return 0.0 if row is None else row.beat_at

    seen = beat()
    if database.now() - seen > LONGEST_BEAT_S:
        return
    pause(LONGEST_BEAT_S)
    if beat() != seen:
        raise SiteKeyRotationError("the service runs: stop all its processes, for they would go on with the old key")


def _begin(before: _Parts, made: Path, told: Told) -> None:
    """Prove what the new key will vouch for, say that it begins, and leave the new key where it is found again."""
    try:
        prove_trail(before.database, before.guard, before.trail)
        if not before.guard.counter.read().rows_are_sealed:
            raise SiteKeyRotationError("rows have no seals yet: start the service once, then rotate")
    except (TrailBrokenError, CounterMissingError, CounterBrokenError) as error:
        raise SiteKeyRotationError(f"a new key must not vouch for what the old one cannot prove: {error}") from error
    before.trail.record(_event("rotation_begun", {}))
    told("noted", 0)
    with before.database.read() as session:
        last = before.trail.end(session).seq
    aside = made.with_suffix(f".{uuid.uuid4().hex}")
    write_secret(aside, rotated_text(before.keys, last))
    told("made", 0)
    put_in_place(aside, made)


def _with_older_identifiers(keys: SiteKeys, before: SiteKeys) -> SiteKeys:
    """Let the new keys open what the old ones sealed of identifiers."""
    older = dict.fromkeys((*keys.older_identifiers, before.identifiers, *before.older_identifiers))
    return replace(keys, older_identifiers=tuple(older))


def _seal_identifiers(now: _Parts) -> int:
    try:
        count = seal_identifiers_anew(now.database, now.vault)
        require_newest(now.database, IdentifierVault(replace(now.keys, older_identifiers=())))
    except InvalidTag as error:
        raise SiteKeyRotationError(
            "an identifier opens under none of the keys: bring identifier.keys back, or the database of a backup"
        ) from error
    return count


def _seal_rows_anew(before: _Parts, now: _Parts) -> int:
    """Seal rows under the new key that the old one had sealed. One that was forged goes on showing that it was."""
    count = 0
    plain = Database(now.settings.database)  # its guard would judge what it seals by the new key alone
    with closing(plain):
        for table in SEALED_TABLES:
            identity = getattr(table, table.SEALED_COLUMNS[0])
            last = ""
            while True:
                with plain.write() as session:
                    query = select(table).where(identity > last).order_by(identity).limit(ROWS_AT_ONCE)
                    rows = session.scalars(query).all()
                    for row in rows:
                        last = getattr(row, identity.key)
                        if is_same_secret(row.seal or "", before.guard.seal_of(row)):
                            row.seal = now.guard.seal_of(row)
                            count += 1
                if len(rows) < ROWS_AT_ONCE:
                    break
    return count


def _end(before: _Parts, now: _Parts, told: Told, detail: dict[str, str | int]) -> None:
    """Let the counter say that the new key is the one, and put that into the trail, once."""
    now.guard.counter.take_over(before.guard.counter)
    told("counter", 0)
    since = now.keys.older_audit[-1][0]
    with now.database.write() as session:
        ended = select(AuditRow.seq).where(AuditRow.seq > since, AuditRow.object_kind == "site_key")
        if session.scalars(ended).first() is None:
            now.trail.append(session, _event("rotated", detail))
    told("ended", 0)


def _event(change: str, detail: dict[str, str | int]) -> AuditEvent:
    return AuditEvent(command_line(), Action.SECURE, object_kind="site_key", detail={"change": change} | detail)


def _put_in_place(settings: Settings) -> Path | None:
    if settings.site_key is None:
        put_in_place(next_key_file(settings), settings.data_dir / "site.key")
        return None
    put_in_place(next_key_file(settings), _left_file(settings))
    return _left_file(settings)


class _Resealing:
    """Encrypts objects anew, one after the other in one order: of those before, only the last can be half recorded."""

    def __init__(self, before: _Parts, now: _Parts, told: Told) -> None:
        self._before, self._now, self._told = before, now, told
        self._store, self._database = now.store, now.database
        self.count, self.damaged = 0, list[str]()
        self._last_done: _Sealed | None = None

    def reseal_all(self) -> None:
        """Reseal what rows refer to, and what of an earlier release lies under no row."""
        self._adopt_reports()
        for query in _sealed_objects():
            for one in self._each(query):
                self._look_at(one)
        self._settle_last()

    def _adopt_reports(self) -> None:
        """Give the reports of releases that kept no rows their rows, by the old key, which alone opens them."""
        keys = replace(self._before.keys, audit=self._now.keys.audit)
        kept = KeptReports(replace(self._now, keys=keys))
        for found in list(self._store.list("reports")):
            _, run_id, kind = (*found.key.split("/"), "", "")[:3]
            with self._database.read() as session:
                is_known = session.scalars(select(RunRow.id).where(RunRow.id == run_id)).first()
            if "." not in kind and is_known:
                try:
                    kept.find(run_id, kind)
                except ReportDamagedError:
                    self.damaged.append(found.key)

    def _each(self, query: Select[*tuple[Any, ...]]) -> Iterator[_Sealed]:
        key_column, last = query.selected_columns[1], ""
        while True:
            with self._database.read() as session:
                some = session.execute(query.where(key_column > last).order_by(key_column).limit(ROWS_AT_ONCE)).all()
            for kind, key, site, sha256, size_bytes in some:
                name = ObjectName(kind, key if kind == "report" else original_key(key), site)
                yield _Sealed(name, sha256, size_bytes)
                last = key
            if len(some) < ROWS_AT_ONCE:
                return

    def _look_at(self, one: _Sealed) -> None:
        try:
            start = self._store.read_part(one.name.key, 0, FIRST_PIECE_BYTES)
            if opens_first_chunk(start, one.size_bytes, self._now.keys.originals, one.name):
                self._last_done = one
                return
            self._settle_last()
            self._reseal(one)
        except ObjectMissingError:
            return  # removed by retention, or lost: the ledger tells which
        except SealBrokenError:
            self._note_damaged(one)

    def _settle_last(self) -> None:
        """Record the object that was sealed anew when a rotation was broken off: the new key proves that it is."""
        one, self._last_done = self._last_done, None
        if one is None:
            return
        with self._at_hand(one.name.key) as path:
            if (found := file_sha256(path)) == one.sha256:
                return
            try:
                with SealedReader(path, self._now.keys.originals, one.name, found) as reader:
                    while reader.read(CHUNK_BYTES):
                        pass
            except SealBrokenError:
                self._note_damaged(one)
                return
        self._record(one, found)

    def _reseal(self, one: _Sealed) -> None:
        aside = self._now.settings.spool_dir / f"{uuid.uuid4()}.resealed"
        writer = SealedWriter(aside, self._now.keys.originals, one.name)
        try:
            with (
                self._at_hand(one.name.key) as path,
                SealedReader(path, self._before.keys.originals, one.name, one.sha256) as reader,
            ):
                while piece := reader.read(CHUNK_BYTES):
                    writer.write(piece)
            writer.close()
            self._told("sealed", self.count)
            self._store.put_file(one.name.key, writer.path, sha256=writer.sha256)
        except BaseException:
            writer.discard()
            raise
        self._told("stored", self.count)
        self._record(one, writer.sha256)
        self.count += 1
        self._told("objects", self.count)

    def _record(self, one: _Sealed, sha256: str) -> None:
        with self._database.write() as session:
            if one.name.kind == "report":
                report = session.scalars(select(ReportRow).where(ReportRow.key == one.name.key)).one()
                report.sha256 = sha256
                return
            upload_id = one.name.key.removeprefix(original_key(""))
            upload = session.get(UploadRow, upload_id)
            if upload is not None:
                upload.sha256 = sha256
            for row in session.scalars(select(ArrivedInstanceRow).where(ArrivedInstanceRow.upload_id == upload_id)):
                row.stored_sha256 = sha256

    def _note_damaged(self, one: _Sealed) -> None:
        self.damaged.append(one.name.key)
        record_alert(self._now.trail, "site-key", "object_damaged", one.name.kind, one.name.key)

    @contextmanager
    def _at_hand(self, key: str) -> Iterator[Path]:
        local = self._store.local_path(key)
        if local is not None:
            yield local
            return
        path = self._store.fetch(key, self._now.settings.spool_dir / f"{uuid.uuid4()}.resealing")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _sealed_objects() -> tuple[Select[*tuple[Any, ...]], ...]:
    """Return kind, key or upload id, site, digest and size of every object that lies sealed, each once."""
    in_upload = select(UploadRow.id).where(UploadRow.id == ArrivedInstanceRow.upload_id).exists()
    return (
        select(literal("original"), UploadRow.id, StudyRow.site, UploadRow.sha256, UploadRow.stored_bytes).join(
            StudyRow, StudyRow.id == UploadRow.study_id
        ),
        select(
            literal("original"),
            ArrivedInstanceRow.upload_id,
            ArrivalRow.site,
            ArrivedInstanceRow.stored_sha256,
            ArrivedInstanceRow.stored_bytes,
        )
        .join(ArrivalRow, ArrivalRow.id == ArrivedInstanceRow.arrival_id)
        .where(~in_upload),
        select(literal("report"), ReportRow.key, StudyRow.site, ReportRow.sha256, ReportRow.stored_bytes)
        .join(RunRow, RunRow.id == ReportRow.run_id)
        .join(StudyRow, StudyRow.id == RunRow.study_id),
    )
