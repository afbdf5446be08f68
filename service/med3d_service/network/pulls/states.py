"""Where a pull stands, and the moves it may make; pulls.line makes them. docs/states.md is drawn from the table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class PullStatus(StrEnum):
    """Where a pull stands. The last two are its ends."""

    WAITING = "waiting"
    """For its turn, or for its next try."""
    SEARCHING = "searching"
    """A peer is asked which studies there are."""
    FETCHING = "fetching"
    """A study is fetched; or a search has found some, and their pulls are not over."""
    DONE = "done"
    FAILED = "failed"


PULL_MOVES: Mapping[PullStatus, frozenset[PullStatus]] = MappingProxyType(
    {
        PullStatus.WAITING: frozenset({PullStatus.SEARCHING, PullStatus.FETCHING}),
        PullStatus.SEARCHING: frozenset(
            {
                PullStatus.SEARCHING,  # its process was lost, and another goes on
                PullStatus.FETCHING,  # something was found
                PullStatus.WAITING,  # given back, or the fault may pass
                PullStatus.FAILED,
            }
        ),
        PullStatus.FETCHING: frozenset(
            {
                PullStatus.FETCHING,  # its process was lost, and another goes on
                PullStatus.DONE,
                PullStatus.WAITING,  # given back, or the fault may pass
                PullStatus.FAILED,
            }
        ),
        PullStatus.DONE: frozenset(),
        PullStatus.FAILED: frozenset(),
    }
)
"""From each status to those that may follow."""
OVER = (PullStatus.DONE, PullStatus.FAILED)
IN_HAND = (PullStatus.SEARCHING, PullStatus.FETCHING)
