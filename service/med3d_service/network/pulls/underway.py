"""Which arrivals a pull is still bringing."""

from sqlalchemy import ColumnElement, or_, select

from med3d_service.network.pulls.states import OVER
from med3d_service.network.pulls.tables import PullRow
from med3d_service.storage.arrival_tables import ArrivalRow


def is_being_pulled() -> ColumnElement[bool]:
    """Say of an arrival's row that a pull of its study is not over.

    One that was broken off and will go on is a pause of the peer, not the end of the study.
    """
    pulled = select(PullRow.id).where(
        PullRow.site == ArrivalRow.site, PullRow.study_index == ArrivalRow.study_index, PullRow.status.not_in(OVER)
    )
    # What a C-MOVE brings comes through the listener, and is known by having begun after the pull was asked for.
    brought = or_(ArrivalRow.source == "pull", ArrivalRow.first_at >= PullRow.created_at)
    return pulled.where(brought).exists()
