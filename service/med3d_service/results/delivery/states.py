"""Where a delivery stands, and the moves it may make; the outbox makes them. docs/states.md is drawn from the table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class DeliveryStatus(StrEnum):
    """Where a delivery stands. ``dead`` waits for a person."""

    WAITING = "waiting"
    SENDING = "sending"
    STORED = "stored"
    """The peer has it and was asked to commit itself to keep it; its report is awaited."""
    DELIVERED = "delivered"
    DEAD = "dead"


DELIVERY_MOVES: Mapping[DeliveryStatus, frozenset[DeliveryStatus]] = MappingProxyType(
    {
        DeliveryStatus.WAITING: frozenset(
            {
                DeliveryStatus.SENDING,
                DeliveryStatus.WAITING,  # a person wants it sent now
            }
        ),
        DeliveryStatus.SENDING: frozenset(
            {
                DeliveryStatus.SENDING,  # its sender was lost, and another goes on
                DeliveryStatus.WAITING,  # the fault may pass
                DeliveryStatus.STORED,
                DeliveryStatus.DELIVERED,
                DeliveryStatus.DEAD,
            }
        ),
        DeliveryStatus.STORED: frozenset(
            {
                DeliveryStatus.SENDING,  # no report came
                DeliveryStatus.WAITING,  # the peer does not keep it, or a person wants it sent now
                DeliveryStatus.DELIVERED,
                DeliveryStatus.DEAD,
            }
        ),
        DeliveryStatus.DELIVERED: frozenset({DeliveryStatus.WAITING}),  # a person wants it sent again
        DeliveryStatus.DEAD: frozenset({DeliveryStatus.WAITING}),
    }
)
"""From each status to those that may follow."""
TO_BE_SENT = (DeliveryStatus.WAITING, DeliveryStatus.STORED)
"""Due at their next try; of what is stored that is when its report is overdue."""
