"""What the answers to changed heads say of a model: per change and for all changes of a group together."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.uncertainty import Interval
from med3d_export.repeatability.agreement import agreement_icc, within_subject_sd, within_subject_sd_interval
from med3d_export.repeatability.answers import Answer
from med3d_export.repeatability.changes import SEED, Change, Group

LEAST_HEADS = 3
AIMED_SD_YEARS = 0.1
AIMED_SIGNAL_TO_NOISE = 0.01
"""What a head that was only written down otherwise may change: years, and the relative change of signal to noise."""


class RepeatabilityError(Exception):
    """Nothing can be said of the repeatability; the message says what was given and what is needed."""


@dataclass(frozen=True)
class MeasuredHead:
    """A head's answers. changed: by change, one per variant; empty where the head as it is was refused."""

    name: str
    as_it_is: Answer
    changed: dict[str, tuple[Answer, ...]]


@dataclass(frozen=True)
class ChangeScore:
    """One change, or a group's together, on the heads that were answered as they are.

    heads: those answered every time, which the figures are of; measurements: per head, with the one as it is.
    within_subject_sd_interval, icc: None below LEAST_HEADS heads, icc also where it cannot be told (``agreement_icc``).
    mean_shift_years: after less before; largest_change_years: of one head, either way. refused: answers by code.
    signal_to_noise_change: the largest relative one; None for what ought to change it. is_as_aimed: likewise.
    """

    name: str
    group: Group
    what: str
    heads: int
    measurements: int
    mean_shift_years: float
    within_subject_sd_years: float
    within_subject_sd_interval: Interval | None
    icc: Interval | None
    largest_change_years: float
    refused: dict[str, int]
    signal_to_noise_change: float | None
    is_as_aimed: bool | None


@dataclass(frozen=True)
class Repeatability:
    """Everything that repeatability.json holds. refused_as_they_are: codes by head; together: by group."""

    bundle: str
    digest: str
    providers: tuple[str, ...]
    changes: tuple[ChangeScore, ...]
    together: dict[Group, ChangeScore]
    refused_as_they_are: dict[str, str]
    heads: tuple[MeasuredHead, ...]


def answered(heads: Sequence[MeasuredHead]) -> list[MeasuredHead]:
    """Return the heads that were answered as they are.

    Raises RepeatabilityError, with what became of the others, where they are fewer than LEAST_HEADS.
    """
    kept = [head for head in heads if head.as_it_is.brain_age_years is not None]
    if len(kept) < LEAST_HEADS:
        refused = "; ".join(f"{name}: {code}" for name, code in refused_as_they_are(heads).items())
        raise RepeatabilityError(
            f"{len(kept)} of {len(heads)} heads are answered as they are, at least {LEAST_HEADS} are needed ({refused})"
        )
    return kept


def refused_as_they_are(heads: Sequence[MeasuredHead]) -> dict[str, str]:
    """Return codes by the name of the head."""
    return {head.name: head.as_it_is.refusal for head in heads if head.as_it_is.brain_age_years is None}


def score_change(change: Change, heads: Sequence[MeasuredHead]) -> ChangeScore | None:
    """Score one change on the ``answered`` heads that it was tried on; None where none was answered every time."""
    return _score(change.name, change.group, change.what, heads, lambda head: head.changed.get(change.name, ()))


def score_together(group: Group, changes: Sequence[Change], heads: Sequence[MeasuredHead]) -> ChangeScore | None:
    """Score the changes of a group as if they were one; None where no head was answered every time.

    A change at which more than half of the heads are refused, as 2 mm more are on slices of 2 mm, is left out by name.
    """
    kept: list[str] = []
    left_out: list[str] = []
    for change in (change for change in changes if change.group == group):
        tried = [answers for head in heads if (answers := head.changed.get(change.name))]
        refused = sum(any(answer.brain_age_years is None for answer in answers) for answers in tried)
        (left_out if 2 * refused > len(tried) else kept).append(change.name)

    def answers_of(head: MeasuredHead) -> tuple[Answer, ...]:
        return tuple(answer for name in kept for answer in head.changed.get(name, ()))

    name = " ".join(["all of them", *(["but", ", ".join(left_out)] if left_out else [])])
    return _score(name, group, "Every change of the group, each counted once.", heads, answers_of)


def _score(
    name: str,
    group: Group,
    what: str,
    heads: Sequence[MeasuredHead],
    pick: Callable[[MeasuredHead], tuple[Answer, ...]],
) -> ChangeScore | None:
    tried = [(head.as_it_is, *answers) for head in heads if (answers := pick(head))]
    refused = Counter(answer.refusal for answers in tried for answer in answers if answer.brain_age_years is None)
    most = max(map(len, tried), default=0)
    whole = [one for one in tried if len(one) == most and all(answer.brain_age_years is not None for answer in one)]
    if not whole:
        return None
    years = np.array([[answer.brain_age_years for answer in answers] for answers in whole], dtype=np.float64)
    changes, sd, several = years[:, 1:] - years[:, :1], within_subject_sd(years), len(whole) >= LEAST_HEADS
    signal = _signal_to_noise_change(whole) if group == "rewriting" else None
    return ChangeScore(
        name=name,
        group=group,
        what=what,
        heads=len(whole),
        measurements=years.shape[1],
        mean_shift_years=float(changes.mean()),
        within_subject_sd_years=sd,
        within_subject_sd_interval=within_subject_sd_interval(years, SEED) if several else None,
        icc=agreement_icc(years) if several else None,
        largest_change_years=float(np.abs(changes).max()),
        refused=dict(sorted(refused.items())),
        signal_to_noise_change=signal,
        is_as_aimed=_is_as_aimed(sd, signal, refused) if group == "rewriting" else None,
    )


def _is_as_aimed(sd_years: float, signal_to_noise_change: float | None, refused: Counter[str]) -> bool:
    quiet = signal_to_noise_change is None or signal_to_noise_change <= AIMED_SIGNAL_TO_NOISE
    return sd_years <= AIMED_SD_YEARS and quiet and not refused


def _signal_to_noise_change(answers: Sequence[Sequence[Answer]]) -> float | None:
    """Return the largest relative change of a head's signal to noise; None where no head has one."""
    changes = [
        abs(after.signal_to_noise / before.signal_to_noise - 1.0)
        for before, *others in answers
        for after in others
        if before.signal_to_noise and after.signal_to_noise is not None
    ]
    return max(changes, default=None)


def changes_in_years(head: MeasuredHead, change: str) -> npt.NDArray[np.float64]:
    """Return the head's answers after a change less the one as it is; without those that were refused."""
    before = head.as_it_is.brain_age_years
    found = [answer.brain_age_years for answer in head.changed.get(change, ())]
    return np.array([after - before for after in found if after is not None and before is not None], dtype=np.float64)
