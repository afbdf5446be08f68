"""How far a study's working copy is: the only place that changes it. docs/states.md is drawn from the table."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from med3d_service.storage.leases import move_rows
from med3d_service.storage.tables import StudyRow


class CopyStatus(StrEnum):
    """Where a study's working copy stands; only what is ``ready`` is handed to workers."""

    WAITING = "waiting"
    """For a courier."""
    COPYING = "copying"
    """In a courier's hands, until its lease ends."""
    READY = "ready"
    PARKED = "parked"
    """Made, but without a usable T1-weighted series; the study may still get one."""
    REFUSED = "refused"
    """There is none, and the study's ``refusal`` says why."""


COPY_MOVES: Mapping[CopyStatus, frozenset[CopyStatus]] = MappingProxyType(
    {
        CopyStatus.WAITING: frozenset(
            {
                CopyStatus.COPYING,
                CopyStatus.WAITING,  # more has come
                CopyStatus.REFUSED,
            }
        ),
        CopyStatus.COPYING: frozenset(
            {
                CopyStatus.READY,
                CopyStatus.COPYING,  # its courier was lost, and another goes on
                CopyStatus.WAITING,  # given back, or more has come
                CopyStatus.REFUSED,
            }
        ),
        CopyStatus.READY: frozenset(
            {
                CopyStatus.PARKED,
                CopyStatus.WAITING,  # more has come
                CopyStatus.REFUSED,  # its images were removed, or more has come that contradicts
            }
        ),
        CopyStatus.PARKED: frozenset(
            {
                CopyStatus.READY,  # nothing more will come
                CopyStatus.WAITING,  # more has come
                CopyStatus.REFUSED,
            }
        ),
        CopyStatus.REFUSED: frozenset(
            {
                CopyStatus.WAITING,  # more has come, or what was damaged is mended
                CopyStatus.REFUSED,  # for another reason
            }
        ),
    }
)
"""From each status to those that may follow."""
ANY = frozenset(CopyStatus)
LOOKED_AT = (CopyStatus.READY, CopyStatus.PARKED)
"""There is a working copy."""
DECIDED = (CopyStatus.READY, CopyStatus.REFUSED)
"""A run has something to work on, or its answer."""
TO_BE_COPIED = (CopyStatus.WAITING, CopyStatus.COPYING)


def move_copy(
    session: Session,
    study_id: str,
    before: Collection[CopyStatus],
    to: CopyStatus,
    *only: ColumnElement[bool],
    **values: Any,
) -> bool:
    """Move the working copy of a study that stands at one of ``before`` and is as ``only`` says; whether it did.

    ``values`` are further columns of the study. Raises AssertionError for a move that COPY_MOVES does not know.
    """
    return move_copies(session, [study_id], before, to, *only, **values) == 1


def move_copies(
    session: Session,
    study_ids: Collection[str],
    before: Collection[CopyStatus],
    to: CopyStatus,
    *only: ColumnElement[bool],
    **values: Any,
) -> int:
    """Return ``move_copy`` for several studies; how many were moved."""
    ours = StudyRow.id.in_(study_ids), *only
    count = move_rows(session, StudyRow.working_status, COPY_MOVES, set(before), to, *ours, **values)
    for row in list(session):
        if isinstance(row, StudyRow) and row.id in study_ids:
            session.expire(row)  # read anew where somebody goes on with it
    return count
