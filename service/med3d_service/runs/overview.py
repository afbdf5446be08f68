"""How the day goes: what was answered, what waits and since when, and who is there to work on it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_service.runs.fences import is_seen_run
from med3d_service.runs.queueing.queue_signals import QueueSignal, queue_signals
from med3d_service.runs.views import PRIORITIES
from med3d_service.runs.worklist import UNDER_WAY, Shown
from med3d_service.settings import Settings
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import BundleRow, RunRow, WorkerRow
from med3d_service.trust.access import Caller

WORKERS_SHOWN_S = 86400.0


@dataclass(frozen=True)
class SeenWorker:
    """A worker that was heard of lately; ``number`` tells it by, since its name says on which machine it runs."""

    number: int
    silent_s: float
    is_alive: bool
    queues: tuple[str, ...]
    bundles: tuple[str, ...]
    providers: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """The state of one site's day, and of the queues that all sites share."""

    arrived: int
    ended: Mapping[Shown, int]
    waiting: int
    oldest_waiting_s: float | None
    queues: tuple[QueueSignal, ...]
    workers: tuple[SeenWorker, ...]


def overview(session: Session, caller: Caller, settings: Settings, since: float) -> Overview:
    """Look at what came since ``since`` (seconds since 1970), and at what waits now."""
    now = now_of(session)
    ended: dict[Shown, int] = {
        shown: _count(session, caller, since, *_is(shown)) for shown in Shown if shown is not Shown.WAITING
    }
    waiting, oldest = session.execute(
        select(func.count(), func.min(RunRow.created_at))
        .select_from(RunRow)
        .where(RunRow.status.in_(UNDER_WAY), is_seen_run(caller))
    ).one()
    came_today_and_waits = _count(session, caller, since, RunRow.status.in_(UNDER_WAY))
    return Overview(
        arrived=sum(ended.values()) + came_today_and_waits,
        ended=ended,
        waiting=waiting,
        oldest_waiting_s=None if oldest is None else max(0.0, now - oldest),
        queues=tuple(queue_signals(session, now, settings.scale_target_s)),
        workers=_workers(session, now, settings.worker_silent_s),
    )


def _is(shown: Shown) -> tuple[ColumnElement[bool], ...]:
    if shown in {Shown.ACCEPTED, Shown.REVIEW}:
        return RunRow.status == RunStatus.COMPLETED, RunRow.decision == shown
    return (RunRow.status == shown,)


def _count(session: Session, caller: Caller, since: float, *where: ColumnElement[bool]) -> int:
    """Count runs made since then; every priority is named, so that an index answers instead of long rows."""
    query = (
        select(func.count())
        .select_from(RunRow)
        .where(*where, RunRow.priority.in_(PRIORITIES), RunRow.created_at >= since, is_seen_run(caller))
    )
    return session.execute(query).scalar_one()


def _workers(session: Session, now: float, silent_s: float) -> tuple[SeenWorker, ...]:
    query = select(WorkerRow).where(WorkerRow.seen_at > now - WORKERS_SHOWN_S).order_by(WorkerRow.worker_id)
    names = {row.digest: f"{row.name} {row.version}" for row in session.scalars(select(BundleRow))}
    return tuple(
        SeenWorker(
            number=number,
            silent_s=max(0.0, now - row.seen_at),
            is_alive=now - row.seen_at <= silent_s,
            queues=tuple(map(str, row.queues)),
            bundles=tuple(names.get(_digest(one), "") for one in row.bundles),
            providers=tuple(map(str, row.providers)),
        )
        for number, row in enumerate(session.scalars(query), start=1)
    )


def _digest(bundle: object) -> str:
    return str(bundle.get("digest", "")) if isinstance(bundle, dict) else str(bundle)
