"""Cohorts as the results API knows them: who belongs to one, and when it is worked through."""

from datetime import datetime, time
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StringConstraints, field_validator, model_validator

from med3d_contract.results import Age, BundleRef, Frozen, Sex

CohortName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$"),
    Field(description="lower-case letters, digits, dot, dash, underscore; no name of a person", examples=["ms-clinic"]),
]
BundleName = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
MOST_ENTRIES = 500


class NightSchedule(Frozen):
    """A window of every night, by the wall clock of ``time_zone``: what is not done at its end goes on the next night.

    Where clocks are set back in the window it is an hour longer, where they are set forward an hour shorter.
    """

    start: time = Field(time(22), examples=["22:00:00"])
    end: time = Field(time(6), examples=["06:00:00"])
    time_zone: str = Field(max_length=64, description="of the IANA database", examples=["Europe/Berlin"])

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no time zone of the IANA database has this name") from error
        return name

    @model_validator(mode="after")
    def _is_a_window(self) -> "NightSchedule":
        if self.start.tzinfo or self.end.tzinfo:
            raise ValueError("start and end are wall-clock times; time_zone says where")
        if self.start == self.end:
            raise ValueError("start and end must differ")
        return self


class MemberFilter(Frozen):
    """Which studies of this site belong to a cohort; new ones join before each night. Every condition must hold."""

    sex: Sex | None = None
    age_min: Age | None = None
    age_max: Age | None = None
    scan_sites: tuple[ShortText, ...] | None = Field(None, min_length=1, max_length=100)
    received_after: datetime | None = None
    received_before: datetime | None = None

    @field_validator("received_after", "received_before")
    @classmethod
    def _has_a_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("say the time zone, as in 2026-01-05T08:00:00Z")
        return moment


class CohortDraft(Frozen):
    """POST /cohorts. Members come by ``member_filter``, or by list (POST /cohorts/{cohort}/members)."""

    name: CohortName
    bundle: BundleName | None = Field(
        None, description="name, name@version or digest; else the default one, each night"
    )
    schedule: NightSchedule | None = None
    member_filter: MemberFilter | None = None


class CohortChange(Frozen):
    """PATCH /cohorts/{cohort}: what is left out stays; null takes away."""

    bundle: BundleName | None = None
    schedule: NightSchedule | None = None


class CohortView(Frozen):
    """A cohort. ``fault``: why the last scheduled night could not begin (a code), None where it could."""

    cohort_id: str
    name: str
    bundle: str | None
    schedule: NightSchedule | None
    member_filter: MemberFilter | None
    members: int
    subjects: int = Field(description="members of one participant or patient are one")
    created_at: datetime
    next_night: datetime | None = Field(description="when the window opens next, or opened, while it is open")
    fault: str | None


class MemberEntry(Frozen):
    """A study that shall belong to a cohort, by its id or its digest, and what the cohort's manifest says of it."""

    study_id: str | None = Field(None, max_length=36)
    study_digest: Sha256 | None = Field(None, description="see med3d_contract.identity")
    participant_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    age: Age | None = None
    sex: Sex | None = None
    visit: ShortText | None = None
    scan_site: ShortText | None = None
    scanner: ShortText | None = None
    sdmt: float | None = Field(None, ge=0, le=110, description="as measured, points")

    @model_validator(mode="after")
    def _names_one_study(self) -> "MemberEntry":
        if (self.study_id is None) == (self.study_digest is None):
            raise ValueError("name the study by study_id or by study_digest")
        return self


class MembersRequest(Frozen):
    """POST /cohorts/{cohort}/members."""

    entries: tuple[MemberEntry, ...] = Field((), max_length=MOST_ENTRIES)


class MembersAnswer(Frozen):
    """How many joined or were there already; ``missing`` are the entries (from 0) whose study is not in the store."""

    added: int
    known: int
    missing: tuple[int, ...]


class ReprocessingStatus(StrEnum):
    """``waiting``: for its window to open. The last two are the end."""

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class ReprocessingRequest(Frozen):
    """POST /cohorts/{cohort}/reprocess. What has an answer by the bundle already is left alone."""

    bundle: BundleName | None = Field(None, description="for this time; else the cohort's")
    retry_faults: bool = Field(False, description="run again, once, what failed for good before")
    in_window: bool = Field(False, description="only within the cohort's schedule; else now and until it is done")


class ReprocessingView(Frozen):
    """A cohort's way through one bundle."""

    reprocessing_id: str
    cohort: str
    bundle: BundleRef
    status: ReprocessingStatus
    in_window: bool
    retry_faults: bool
    created_at: datetime
    ended_at: datetime | None


class StageTime(Frozen):
    """Seconds of one stage on average, over the newest answers."""

    stage: str
    mean_s: float


class ProblemCount(Frozen):
    """Members that ended alike without a number; ``study_ids`` names the first of them."""

    status: Literal["refused", "failed"]
    code: str
    count: int
    study_ids: tuple[str, ...]


class MemberCounts(Frozen):
    """Members by where they stand; ``copying`` has no working copy yet, ``waiting`` no run or a cancelled one."""

    copying: int = 0
    waiting: int = 0
    queued: int = 0
    preprocessing: int = 0
    preprocessed: int = 0
    predicting: int = 0
    completed: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """Members for which nothing more is to be done."""
        return self.completed + self.refused + self.failed

    @property
    def all(self) -> int:
        """All members."""
        return sum(self.model_dump().values())


class CohortProgress(Frozen):
    """How far a cohort is with one bundle. ``status`` None: it was never worked through by this bundle."""

    cohort: str
    bundle: BundleRef
    status: ReprocessingStatus | None
    members: MemberCounts
    rate_per_s: float = Field(description="answers in the last five minutes")
    seconds_left: float | None
    slowest_stage: str | None
    stages: tuple[StageTime, ...]
    problems: tuple[ProblemCount, ...]
    workers: int = Field(description="live workers that carry the bundle")
    next_night: datetime | None
