"""Which moves a run may make, and how an attempt may end. docs/states.md is drawn from these tables."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from med3d_contract.results import RunStatus

RUN_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.QUEUED: frozenset(
            {
                RunStatus.PREPROCESSING,  # claimed
                RunStatus.QUEUED,  # an attempt that was thought lost says that it failed, or found no usable T1 yet
                RunStatus.PREPROCESSED,  # such an attempt has done its work after all
                RunStatus.REFUSED,  # likewise; or there is no working copy to be had
                RunStatus.FAILED,
                RunStatus.CANCELLED,
            }
        ),
        RunStatus.PREPROCESSING: frozenset(
            {
                RunStatus.QUEUED,  # lost, given back, retried, or no usable T1 yet
                RunStatus.PREPROCESSED,
                RunStatus.REFUSED,
                RunStatus.FAILED,
                RunStatus.CANCELLED,
            }
        ),
        RunStatus.PREPROCESSED: frozenset(
            {
                RunStatus.PREDICTING,  # claimed
                RunStatus.PREPROCESSED,  # an attempt that was thought lost says that it failed
                RunStatus.QUEUED,  # likewise, and the tensor is gone
                RunStatus.COMPLETED,  # such an attempt has done its work after all
                RunStatus.REFUSED,
                RunStatus.FAILED,
                RunStatus.CANCELLED,
            }
        ),
        RunStatus.PREDICTING: frozenset(
            {
                RunStatus.PREPROCESSED,  # lost, given back or retried
                RunStatus.QUEUED,  # the tensor is gone: preprocessing makes it again
                RunStatus.COMPLETED,
                RunStatus.REFUSED,
                RunStatus.FAILED,
                RunStatus.CANCELLED,
            }
        ),
        RunStatus.COMPLETED: frozenset(),
        RunStatus.REFUSED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }
)
"""From each status to those that may follow; runs.moves makes them, by compare-and-set, and no other."""


class AttemptEnding(StrEnum):
    """How one claim of one stage ended."""

    PREPROCESSED = "preprocessed"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    """With a fault that ends the run."""
    RETRIED = "retried"
    """With a fault that may pass."""
    PARKED = "parked"
    """Without a usable T1, of a study that may still get one."""
    RELEASED = "released"
    """Given back before any work was done."""
    LOST = "lost"
    """Its worker fell silent. Should it speak after all, the attempt ends once more."""
    SUPERSEDED = "superseded"
    """Another run stands for this one."""
    CANCELLED = "cancelled"
    """Somebody took the run back."""


WORKED_ENDINGS = frozenset(
    {AttemptEnding.PREPROCESSED, AttemptEnding.COMPLETED, AttemptEnding.REFUSED, AttemptEnding.PARKED}
)
"""Endings of attempts that did the whole work of their stage."""
