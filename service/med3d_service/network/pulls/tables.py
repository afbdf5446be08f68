"""The tables of pulls. What was asked for identifies a patient, so it is kept sealed and found by blind index."""

from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, ID, STATUS, Base


class PullRow(Base):
    """One thing to get from one peer: a study, or a search whose finds become pulls of their own (``parent_id``)."""

    __tablename__ = "pulls"
    __table_args__ = (Index("ix_pulls_due", "status", "urgency", "seq"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("pulls.id"), index=True)
    site: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(STATUS)  # dicomweb or dimse
    peer: Mapped[str] = mapped_column(String(64))
    origin: Mapped[str] = mapped_column(STATUS)  # request, hook or changes
    kind: Mapped[str] = mapped_column(STATUS)  # study or search
    wanted: Mapped[bytes] = mapped_column(LargeBinary)
    wanted_index: Mapped[str] = mapped_column(DIGEST, index=True)
    study_index: Mapped[str | None] = mapped_column(DIGEST, index=True)  # of a study, as in ``arrivals``
    occasion: Mapped[str | None] = mapped_column(DIGEST, unique=True)  # a state of a study at a peer, pulled once
    urgency: Mapped[int]  # 0 goes first
    status: Mapped[str] = mapped_column(STATUS)  # PullStatus; pulls.line alone changes it
    claim: Mapped[int]  # number of the latest claim, the fence against older ones
    tries: Mapped[int]
    created_at: Mapped[float]
    next_try_at: Mapped[float]
    give_up_at: Mapped[float]
    lease_until: Mapped[float | None]
    ended_at: Mapped[float | None]
    instances: Mapped[int]  # taken in so far
    skipped_instances: Mapped[int]  # that no run can use
    fault: Mapped[dict[str, Any] | None]  # of the last try
    arrival_id: Mapped[str | None] = mapped_column(ID)
    study_id: Mapped[str | None] = mapped_column(ID)
    run_id: Mapped[str | None] = mapped_column(ID)


class HookCallRow(Base):
    """A call of a hook that was heeded, so that nobody plays it again. Kept while its timestamp would still do."""

    __tablename__ = "hook_calls"
    nonce: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    called_at: Mapped[float] = mapped_column(index=True)


class FollowedPeerRow(Base):
    """How far an Orthanc's log of changes has been read."""

    __tablename__ = "followed_peers"
    peer: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_seq: Mapped[int]
