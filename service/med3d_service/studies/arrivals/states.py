"""Where an arrival stands. The journal lets it receive, settling settles it. docs/states.md is drawn from the table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy.orm import Session

from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.leases import move_rows


class ArrivalStatus(StrEnum):
    """Where a study that comes by itself stands."""

    RECEIVING = "receiving"
    """Something of it has come that was not looked at yet."""
    SETTLED = "settled"
    """What has come so far stands in a study."""


ARRIVAL_MOVES: Mapping[ArrivalStatus, frozenset[ArrivalStatus]] = MappingProxyType(
    {
        ArrivalStatus.RECEIVING: frozenset({ArrivalStatus.RECEIVING, ArrivalStatus.SETTLED}),
        ArrivalStatus.SETTLED: frozenset({ArrivalStatus.RECEIVING}),
    }
)
"""From each status to those that may follow."""


def mark_settled(session: Session, arrival: ArrivalRow) -> bool:
    """Settle an arrival that is still receiving; False where another was first."""
    here, ours = {ArrivalStatus.RECEIVING}, ArrivalRow.id == arrival.id
    count = move_rows(session, ArrivalRow.status, ARRIVAL_MOVES, here, ArrivalStatus.SETTLED, ours)
    session.refresh(arrival)
    return count == 1
