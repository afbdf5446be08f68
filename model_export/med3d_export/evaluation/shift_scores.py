"""How well the scores tell spoilt heads and non-heads from good ones, and what the gate and the limits make of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.novelty import neighbour_distance, separation, threshold_at
from med3d_export.fold_evidence import BrainGrid, FoldEvidence
from med3d_export.latent_maps import shrunk_covariance
from med3d_export.training import FittedAutoencoder, Tensors
from med3d_export.training.fitted import Latents

Floats = npt.NDArray[np.float64]
FALSE_REVIEW_RATE = 0.03
ALL_TOGETHER = "combined"


@dataclass(frozen=True, eq=False)
class Novelty:
    """Three scores of heads, (N,) each: Mahalanobis ``distance``, ``neighbours``, ``residual``; larger is stranger."""

    distance: Floats
    neighbours: Floats
    residual: Floats


def novelty_of(
    tensors: Tensors, latents: Latents, one: FoldEvidence, fitted: FittedAutoencoder, grid: BrainGrid
) -> Novelty:
    """Return scores of tensors (N, X, Y, Z) that the fold's model has not seen, and that it encodes as ``latents``."""
    own = one.latents[one.training].astype(np.float64)
    error = np.square(fitted.reconstruct(latents) - tensors)[:, grid.mask]
    return Novelty(
        distance=shrunk_covariance(own).distance(latents),
        neighbours=neighbour_distance(own, latents.astype(np.float64)),
        residual=np.sqrt(error.mean(axis=1)).astype(np.float64),
    )


def held_out_novelty(found: HeldOut) -> Novelty:
    """Return those of the good heads, each by the fold of the first repeat that tested it."""
    tested = np.isfinite(found.distance[0])
    return Novelty(found.distance[0][tested], found.neighbours[0][tested], found.residual[0][tested])


def combined(scores: Novelty, good: Novelty) -> Floats:
    """Return the largest of the three scores, each in median deviations above the good heads' median."""
    parts = []
    for score in fields(Novelty):
        of_good = getattr(good, score.name)
        middle = np.median(of_good)
        spread = np.median(np.abs(of_good - middle))
        parts.append((getattr(scores, score.name) - middle) / max(float(spread), 1e-12))
    return np.asarray(np.max(parts, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class ShiftResult:
    """One kind of spoilt head. refused: by the quality gate, by code. auroc: by score, of those that got a tensor.

    flagged: by score, the share of those beyond the limit that FALSE_REVIEW_RATE of good held-out heads exceed.
    stopped: share of all that the gate refuses or marks, or whose Mahalanobis distance is beyond that limit.
    age: None where the heads' ages are not known. measure_auroc: by quality measure, spoilt heads against the same ones
    unchanged, whichever way it moves; of those that it was measured of.
    """

    name: str
    heads: int
    refused: dict[str, int]
    marked: int
    auroc: dict[str, float]
    flagged: dict[str, float]
    stopped: float
    age: "AgeUnderShift | None" = None
    measure_auroc: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AgeUnderShift:
    """Of ``heads`` that got a tensor: years by which the estimate moves, mean and SD; its mean absolute error.

    unchanged_mae: of the same heads as they were. passing: those that nothing refuses or marks, passing_mae: their
    error, NaN where there are none.
    """

    heads: int
    moved: float
    moved_sd: float
    mae: float
    unchanged_mae: float
    passing: int
    passing_mae: float


@dataclass(frozen=True, eq=False)
class Tried:
    """One head on its way through the chain: the gate's refusal code ("" where it lets through), whether it marks it.

    novelty: the scores (three arrays of length 1), None where preprocessing gave no tensor; estimated_age: years, None
    there, too. measures: of quality, by name; empty where there are none.
    """

    refusal: str
    is_marked: bool
    novelty: Novelty | None
    estimated_age: float | None = None
    measures: dict[str, float] = field(default_factory=dict)


def score_shift(
    name: str, tried: Sequence[Tried], good: Novelty, unchanged: Sequence[Tried] = (), ages_years: Sequence[float] = ()
) -> ShiftResult:
    """Hold what became of the heads of one kind against the good heads' held-out scores.

    unchanged: the same heads as they were, with their true ages; empty where they are not known.
    """
    scored = [one.novelty for one in tried if one.novelty is not None]
    refused: dict[str, int] = {}
    for one in tried:
        if one.refusal:
            refused[one.refusal] = refused.get(one.refusal, 0) + 1
    auroc, flagged = {}, {}
    limit = threshold_at(good.distance, FALSE_REVIEW_RATE).value
    if scored:
        together = Novelty(*(np.concatenate([getattr(s, f.name) for s in scored]) for f in fields(Novelty)))
        of_good = {f.name: getattr(good, f.name) for f in fields(Novelty)} | {ALL_TOGETHER: combined(good, good)}
        of_shifted = {f.name: getattr(together, f.name) for f in fields(Novelty)}
        of_shifted[ALL_TOGETHER] = combined(together, good)
        for score, values in of_shifted.items():
            auroc[score] = separation(of_good[score], values)
            flagged[score] = float(np.mean(values > threshold_at(of_good[score], FALSE_REVIEW_RATE).value))
    stopped = [_is_stopped(one, limit) for one in tried]
    marked = sum(one.is_marked and not one.refusal for one in tried)
    return ShiftResult(
        name, len(tried), refused, marked, auroc, flagged, float(np.mean(stopped)),
        _age_under_shift(tried, stopped, unchanged, ages_years), _measure_auroc(tried, unchanged),
    )  # fmt: skip


def _is_stopped(one: Tried, limit: float) -> bool:
    return bool(one.refusal) or one.is_marked or (one.novelty is not None and bool(one.novelty.distance[0] > limit))


def _age_under_shift(
    tried: Sequence[Tried], stopped: Sequence[bool], unchanged: Sequence[Tried], ages_years: Sequence[float]
) -> AgeUnderShift | None:
    pairs = [
        (one.estimated_age, before.estimated_age, age, not stops)
        for one, before, age, stops in zip(tried, unchanged, ages_years, stopped, strict=False)
        if one.estimated_age is not None and before.estimated_age is not None
    ]
    if not pairs:
        return None
    spoilt, before, true, passes = (np.array(column) for column in zip(*pairs, strict=True))
    errors = np.abs(spoilt - true)
    return AgeUnderShift(
        heads=len(pairs),
        moved=float((spoilt - before).mean()),
        moved_sd=float((spoilt - before).std(ddof=1)) if len(pairs) > 1 else float("nan"),
        mae=float(errors.mean()),
        unchanged_mae=float(np.abs(before - true).mean()),
        passing=int(passes.sum()),
        passing_mae=float(errors[passes].mean()) if passes.any() else float("nan"),
    )


def _measure_auroc(tried: Sequence[Tried], unchanged: Sequence[Tried]) -> dict[str, float]:
    found = {}
    for name in {name: None for one in unchanged for name in one.measures}:
        good, spoilt = (
            np.array([one.measures[name] for one in of if name in one.measures]) for of in (unchanged, tried)
        )
        good, spoilt = good[np.isfinite(good)], spoilt[np.isfinite(spoilt)]
        if len(good) and len(spoilt):
            higher = separation(good, spoilt)
            found[name] = max(higher, 1.0 - higher)
    return found


def _measured(name: str, heads: Sequence[Tried]) -> Floats:
    values = np.array([one.measures[name] for one in heads if name in one.measures])
    return np.asarray(values[np.isfinite(values)], dtype=np.float64)
