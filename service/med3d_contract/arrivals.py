"""What came in, or was announced, and what became of it: GET /arrivals and `med3d pacs arrivals`."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from med3d_contract.results import Frozen


class ArrivalState(StrEnum):
    """Where a study that comes by itself stands."""

    ANNOUNCED = "announced"
    """A peer or a person has told of it, and nothing of it has come."""
    RECEIVING = "receiving"
    """Something of it came lately; it is looked at when it was quiet for a while."""
    INCOMPLETE = "incomplete"
    """A pull of it has not got all, and is tried again or has failed."""
    CORRECTING = "correcting"
    """Its patient is being corrected: nothing of it goes out until all of it has come."""
    IGNORED = "ignored"
    """No routing rule wants any of it."""
    WAITING_FOR_T1 = "waiting_for_t1"
    """It holds no usable T1-weighted series yet; see ``until``."""
    AT_FAULT = "at_fault"
    """It names two patients, or two images have one UID; ``code`` says which."""
    IN_WORK = "in_work"
    """Its run waits or is being worked on."""
    ANSWERED = "answered"
    """Its run has an answer."""
    FAILED = "failed"
    """Its run, or the pull of it, has ended in a fault; ``code`` says which."""


class MatchedRule(Frozen):
    """A routing rule, and how many instances it decided on; ``rule`` is null for those that none wanted."""

    rule: str | None
    instances: int


class ArrivalReport(Frozen):
    """A study as it arrives. Nothing here names a patient."""

    arrival_id: str | None = Field(description="null for what was announced only")
    pull_id: str | None
    state: ArrivalState
    why: str = Field(description="a sentence, for people")
    code: str | None = Field(description="of a fault or a refusal")
    until: datetime | None = Field(description="when it goes on by itself")
    inlet: str = Field(description="dimse, stow, orthanc, pull or folder")
    ae_title: str = Field(description="calling AE title, or the name of peer or key")
    address: str
    called_ae_title: str = Field("", description="our AE title that was called; empty where it did not come by DIMSE")
    first_at: datetime
    last_at: datetime
    instances: int
    expected: int | None = Field(description="how many the peer holds, where it was asked")
    rules: tuple[MatchedRule, ...]
    study_id: str | None
    run_id: str | None


class TurnedAway(Frozen):
    """A caller who got no association, and why."""

    reason: str
    address: str
    ae_title: str = Field(description="as it called itself; empty where it had not said")
    count: int
    first_at: datetime
    last_at: datetime


class ArrivalPage(Frozen):
    """Studies, the one that came last first; what was announced and has not come; who was turned away."""

    items: tuple[ArrivalReport, ...]
    announced: tuple[ArrivalReport, ...]
    turned_away: tuple[TurnedAway, ...]
    next_cursor: str | None
