"""Before a bundle replaces another: what changes for the same heads, and who would be judged otherwise."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.uncertainty import Interval, bootstrap_table
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.prediction import PointEstimate, Prediction, SubjectAttributes

Floats = npt.NDArray[np.float64]
Tensors = npt.NDArray[np.float32]
LIMITS_SD = 1.96
"""Bland-Altman limits of agreement: where 95 % of differences lie if they are normal (Lancet 1986)."""


class PromotionError(Exception):
    """The bundle is not put in place; the message says why."""


@dataclass(frozen=True)
class KnownScanner:
    """What the cohort's heads were scanned with: a scanner that the candidate was calibrated on."""

    field_strength_t: float | None
    manufacturer: str | None
    model: str | None = None


@dataclass(frozen=True)
class Judgement:
    """What a bundle says of one head; numbers are None where it refuses. gap_shown: the gap's interval excludes 0.

    brain_age_years: the estimate; sdmt_points: of the SDMT head; codes: of the refusal or the review reasons.
    """

    decision: str
    codes: tuple[str, ...]
    brain_age_years: float | None
    sdmt_points: float | None
    gap_shown: bool | None


@dataclass(frozen=True)
class Agreement:
    """Candidate minus bundle in place, on heads that both answer. slope: of the difference on the mean of the two."""

    heads: int
    shift: Interval
    sd: float
    lower_limit: float
    upper_limit: float
    slope: Interval
    largest: float


@dataclass(frozen=True)
class Crossing:
    """One head that is judged otherwise: what of it changes, from what, to what."""

    head: str
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Promotion:
    """Everything that promotion.json holds. Mean absolute errors are of heads that both answer."""

    candidate: str
    in_place: str
    heads: int
    answered_by_both: int
    mae_candidate: float
    mae_in_place: float
    brain_age: Agreement
    sdmt: Agreement | None
    crossings: tuple[Crossing, ...]


def judge(bundle: Bundle, tensors: Tensors, ages_years: Floats, scanner: KnownScanner) -> list[Judgement]:
    """Return every head as the worker would answer it: tensors (N, X, Y, Z) of the bundle's own preprocessing."""
    subjects = [SubjectAttributes(float(age)) for age in ages_years]
    answers: list[Prediction | InputRefused] = []
    for start in range(0, len(tensors), 16):
        part = slice(start, start + 16)
        answers += bundle.predictor().predict(tensors[part], subjects[part], [scanner] * len(subjects[part]))
    return [_judgement(answer) for answer in answers]


def _judgement(answer: Prediction | InputRefused) -> Judgement:
    if isinstance(answer, InputRefused):
        return Judgement("refused", (answer.code,), None, None, None)
    codes = tuple(sorted(str(reason.code) for reason in answer.reasons))
    sdmt = None if answer.sdmt is None else answer.sdmt.estimate
    return Judgement(answer.decision, codes, answer.brain_age.estimate, sdmt, _excludes_zero(answer.gap_corrected))


def _excludes_zero(gap: PointEstimate | None) -> bool | None:
    return None if gap is None else not gap.interval.lower <= 0.0 <= gap.interval.upper


def compare_judgements(
    names: tuple[str, str],
    heads: Sequence[str],
    ages_years: Floats,
    candidate: Sequence[Judgement],
    in_place: Sequence[Judgement],
    seed: int,
) -> Promotion:
    """Hold the candidate against the bundle in place; ``names`` in that order.

    Raises PromotionError where both answer fewer than 10 of the heads.
    """
    new, old = _column(candidate, "brain_age_years"), _column(in_place, "brain_age_years")
    both = np.isfinite(new) & np.isfinite(old)
    if both.sum() < 10:
        raise PromotionError(f"both bundles answer only {both.sum()} of the heads: too few to compare them")
    points = _column(candidate, "sdmt_points"), _column(in_place, "sdmt_points")
    scored = np.isfinite(points[0]) & np.isfinite(points[1])
    return Promotion(
        candidate=names[0],
        in_place=names[1],
        heads=len(heads),
        answered_by_both=int(both.sum()),
        mae_candidate=float(np.abs(new - ages_years)[both].mean()),
        mae_in_place=float(np.abs(old - ages_years)[both].mean()),
        brain_age=agreement(new[both], old[both], seed),
        sdmt=agreement(points[0][scored], points[1][scored], seed) if scored.sum() >= 10 else None,
        crossings=tuple(_crossings(heads, candidate, in_place)),
    )


def _column(judgements: Sequence[Judgement], name: str) -> Floats:
    values = [getattr(judgement, name) for judgement in judgements]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def agreement(new: Floats, old: Floats, seed: int) -> Agreement:
    """Return Bland-Altman of paired estimates (N,)."""
    differences, means = new - old, (new + old) / 2

    def statistic(rows: npt.NDArray[np.int64]) -> dict[str, float]:
        varies = np.ptp(means[rows]) > 0
        slope = float(np.polyfit(means[rows], differences[rows], 1)[0]) if varies else 0.0
        return {"shift": float(differences[rows].mean()), "slope": slope}

    table = bootstrap_table(statistic, len(differences), seed)
    shift, sd = table["shift"], float(differences.std(ddof=1))
    return Agreement(
        heads=len(differences),
        shift=shift,
        sd=sd,
        lower_limit=shift.value - LIMITS_SD * sd,
        upper_limit=shift.value + LIMITS_SD * sd,
        slope=table["slope"],
        largest=float(np.abs(differences).max()),
    )


def _crossings(heads: Sequence[str], candidate: Sequence[Judgement], in_place: Sequence[Judgement]) -> list[Crossing]:
    found = []
    for head, new, old in zip(heads, candidate, in_place, strict=True):
        if new.decision != old.decision:
            found.append(Crossing(head, "decision", _said(old), _said(new)))
        if new.gap_shown is not None and old.gap_shown is not None and new.gap_shown != old.gap_shown:
            names = {True: "excludes 0", False: "holds 0"}
            found.append(Crossing(head, "interval of the corrected gap", names[old.gap_shown], names[new.gap_shown]))
    return found


def _said(judgement: Judgement) -> str:
    return judgement.decision + (f" ({', '.join(judgement.codes)})" if judgement.codes else "")


def put_in_place(candidate: Path, place: Path) -> None:
    """Replace the bundle at ``place`` by a copy of ``candidate``; on a fault the old one is put back.

    The copy is verified and reproduces its reference case before anything is moved. Raises BundleError where it does
    not.
    """
    restore_stopped(place)
    arriving, leaving = place.with_name(f".{place.name}.arriving"), _leaving(place)
    for left in (arriving, leaving):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(candidate, arriving)
    try:
        Bundle.open(arriving).run_reference_case()
        if place.exists():
            place.rename(leaving)
        arriving.rename(place)
    except BaseException:
        if leaving.exists() and not place.exists():
            leaving.rename(place)
        raise
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    shutil.rmtree(leaving, ignore_errors=True)


def restore_stopped(place: Path) -> None:
    """Bring back the bundle that a promotion had moved away from ``place`` when it was killed, if one was."""
    if _leaving(place).exists() and not place.exists():
        _leaving(place).rename(place)


def _leaving(place: Path) -> Path:
    return place.with_name(f".{place.name}.leaving")
