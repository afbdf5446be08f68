"""How pulls are shown. What was asked for is not repeated: it identifies a patient."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import Frozen
from med3d_service.network.pulls.states import PullStatus
from med3d_service.network.pulls.tables import PullRow
from med3d_service.runs.views import moment


class Fault(Frozen):
    """Why the last try did not work; ``code`` is stable."""

    code: str
    reason: str


class PulledStudy(Frozen):
    """A study of a pull; ``study_id`` and ``run_id`` are there once it is worth a run."""

    pull_id: str
    status: PullStatus
    instances: int
    skipped_instances: int
    study_id: str | None
    run_id: str | None
    fault: Fault | None


class PullView(Frozen):
    """A pull: waiting, searching, fetching, done or failed. While it waits, ``next_try_at`` says for when."""

    pull_id: str
    status: PullStatus
    source: str
    peer: str
    origin: str
    created_at: datetime
    ended_at: datetime | None
    tries: int
    next_try_at: datetime | None
    fault: Fault | None
    studies: tuple[PulledStudy, ...]


def pull_view(session: Session, pull: PullRow) -> PullView:
    """Show a pull with its studies: itself, or the finds of its search."""
    found = [pull]
    if pull.kind == "search":
        found = list(session.scalars(select(PullRow).where(PullRow.parent_id == pull.id).order_by(PullRow.seq)))
    return PullView(
        pull_id=pull.id,
        status=PullStatus(pull.status),
        source=pull.source,
        peer=pull.peer,
        origin=pull.origin,
        created_at=moment(pull.created_at),
        ended_at=None if pull.ended_at is None else moment(pull.ended_at),
        tries=pull.tries,
        next_try_at=moment(pull.next_try_at) if pull.status == PullStatus.WAITING else None,
        fault=_fault(pull),
        studies=tuple(_study(one) for one in found),
    )


def _study(pull: PullRow) -> PulledStudy:
    return PulledStudy(
        pull_id=pull.id,
        status=PullStatus(pull.status),
        instances=pull.instances,
        skipped_instances=pull.skipped_instances,
        study_id=pull.study_id,
        run_id=pull.run_id,
        fault=_fault(pull),
    )


def _fault(pull: PullRow) -> Fault | None:
    return None if pull.fault is None else Fault.model_validate(pull.fault)
