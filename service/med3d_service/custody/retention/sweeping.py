"""The sweep over the five classes: what is due is told (dry run) or removed, a few at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from med3d_service.custody.erasure import Erased, erase_study
from med3d_service.custody.retention.due import (
    ENDED_AT,
    due_entries,
    due_latents,
    due_studies,
    due_tensors,
    due_versions,
)
from med3d_service.custody.retention.removing import finish, pending, remove_input, remove_latents, remove_tensors
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import PatientUpdateRow
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail, TrailBrokenError
from med3d_service.trust.audit.alerts import alert
from med3d_service.trust.audit.tables import AuditRow
from med3d_store.object_store import ObjectStore

log = structlog.get_logger()
DAY_S = 86400.0
AT_ONCE = 200
CLASSES = ("input", "tensor", "latent", "result", "audit")
OURSELVES = Actor("process", "retention")


@dataclass(frozen=True)
class Due:
    """One class: how long it is kept (None: for ever), how much is older, its oldest in seconds since 1970."""

    name: str
    days: float | None
    count: int
    oldest_at: float | None


class Retention:
    """The settings ``retain_*_days``, applied."""

    def __init__(
        self, settings: Settings, database: Database, store: ObjectStore, vault: IdentifierVault, trail: AuditTrail
    ) -> None:
        self._settings = settings
        self._database = database
        self._store, self._vault, self._trail = store, vault, trail
        self._swept_at = float("-inf")

    def due(self) -> tuple[Due, ...]:
        """Return what a sweep would remove now."""
        found = []
        with self._database.read() as session:
            for name in CLASSES:
                days, before = self._limit(name)
                row = (0, None) if before is None else session.execute(_overview(name, before)).one()
                found.append(Due(name, days, *row))
        return tuple(found)

    def sweep_if_due(self) -> None:
        """Sweep once in ``retention_every_s``."""
        if time.monotonic() - self._swept_at >= self._settings.retention_every_s:
            self._swept_at = time.monotonic()
            if removed := self.sweep():
                log.info("retention_removed", **removed)

    def sweep(self) -> dict[str, int]:
        """Remove what is due; how many studies, runs or entries, by class."""
        removed = {}
        for name in CLASSES:
            _, before = self._limit(name)
            if before is not None and (count := self._remove(name, before)):
                removed[name] = count
        if merges := self._forget_merges():
            removed["merge"] = merges
        finish_removals(self._database, self._store)
        return removed

    def _forget_merges(self) -> int:
        """Let go of merges whose patients' images have not come: they are of no study that would take them along."""
        before = self._database.now() - self._settings.hl7_merges_days * DAY_S
        old = PatientUpdateRow.site.is_not(None), PatientUpdateRow.told_at < before
        with self._database.read() as session:
            ids = session.scalars(select(PatientUpdateRow.id).where(*old)).all()
        if ids:
            with self._database.write() as session:
                session.execute(delete(PatientUpdateRow).where(*old))
        return len(ids)

    def _limit(self, name: str) -> tuple[float | None, float | None]:
        days: float | None = getattr(self._settings, f"retain_{name}_days")
        return days, None if days is None else self._database.now() - days * DAY_S

    def _remove(self, name: str, before: float) -> int:
        if name == "audit":
            return self._shorten_trail(before)
        step: Callable[[Session, Sequence[str], float], int] = {
            "input": self._inputs,
            "tensor": self._tensors,
            "latent": self._latents,
            "result": self._results,
        }[name]
        removed = 0
        due = self._due_ids(name, before)
        for start in range(0, len(due), AT_ONCE):
            ids = due[start : start + AT_ONCE]
            with self._database.write() as session:
                gone = step(session, ids, before)
                if gone and name != "result":  # an erased study has an entry of its own
                    self._note(session, name, gone)
            removed += gone
        return removed

    def _due_ids(self, name: str, before: float) -> Sequence[str]:
        column, condition = _places(name, before)
        with self._database.read() as session:
            return session.scalars(select(column).where(condition)).all()

    def _inputs(self, session: Session, ids: Sequence[str], before: float) -> int:
        gone: set[str] = set()
        for study_id in ids:
            if study_id not in gone and (versions := due_versions(session, study_id, before)):
                held = select(StudyRow.id).where(StudyRow.id.in_(versions), StudyRow.input_removed_at.is_(None))
                holding = session.scalars(held).all()
                remove_input(session, holding)
                gone.update(holding)
        return len(gone)

    def _tensors(self, session: Session, ids: Sequence[str], before: float) -> int:
        due = session.scalars(select(RunRow.id).where(RunRow.id.in_(ids), due_tensors(before))).all()
        remove_tensors(session, due)
        return len(due)

    def _latents(self, session: Session, ids: Sequence[str], before: float) -> int:
        due = session.scalars(select(RunRow).where(RunRow.id.in_(ids), due_latents(before))).all()
        remove_latents(session, due)
        return len(due)

    def _results(self, session: Session, ids: Sequence[str], before: float) -> int:
        gone: set[str] = set()
        for study_id in ids:
            if study_id in gone or not due_versions(session, study_id, before):
                continue
            study = session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one()
            try:
                gone.update(self._erase(session, study).study_ids)
            except ServiceError:  # a worker has taken it in hand meanwhile
                continue
        return len(gone)

    def _erase(self, session: Session, study: StudyRow) -> Erased:
        return erase_study(
            session,
            study,
            OURSELVES,
            reason="retention",
            store=self._store,
            vault=self._vault,
            trail=self._trail,
        )

    def _shorten_trail(self, before: float) -> int:
        removed = 0
        while True:
            with self._database.write() as session:
                try:
                    gone = self._trail.drop_before(session, before)
                except TrailBrokenError as error:  # it stays, for people to look at
                    alert(self._trail, session, "retention", "trail_not_shortened", "audit_trail", str(error.seq))
                    return removed
                if not gone:
                    return removed
                self._note(session, "audit", gone)
            removed += gone

    def _note(self, session: Session, name: str, count: int) -> None:
        action = Action.AUDIT if name == "audit" else Action.ERASE
        said = AuditEvent(OURSELVES, action, object_kind=name, detail={"reason": "retention", "count": count})
        self._trail.append(session, said)


def finish_removals(database: Database, store: ObjectStore) -> int:
    """Remove from the store what retention let go of; how many lists were worked off."""
    finished = 0
    while True:
        with database.read() as session:
            waiting = pending(session, AT_ONCE)
        for removal in waiting:
            with database.write() as session:
                finish(session, store, session.merge(removal, load=False))
        finished += len(waiting)
        if len(waiting) < AT_ONCE:
            return finished


def _places(name: str, before: float) -> tuple[Any, ColumnElement[bool]]:
    """Return the ids of a class, and which of them are due."""
    return {
        "input": (StudyRow.id, due_studies(before, with_input=True)),
        "tensor": (RunRow.id, due_tensors(before)),
        "latent": (RunRow.id, due_latents(before)),
        "result": (StudyRow.id, due_studies(before)),
        "audit": (AuditRow.seq, due_entries(before)),
    }[name]


def _overview(name: str, before: float) -> Any:
    column, condition = _places(name, before)
    since = {"audit": AuditRow.at, "tensor": ENDED_AT, "latent": ENDED_AT}.get(name, StudyRow.created_at)
    return select(func.count(column), func.min(since)).where(condition)
