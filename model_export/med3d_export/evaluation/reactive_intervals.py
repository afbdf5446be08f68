"""Would intervals that are wider for harder heads be narrower on average? Normalised and Mondrian conformal, held out.

Papadopoulos, Gammerman, Vovk, "Normalized nonconformity measures for regression conformal prediction", AIA 2008; Vovk,
Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (Mondrian).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

from med3d_export.evaluation.held_out import HeldOut
from med3d_export.subjects.folds import Fold
from med3d_export.subjects.labels import Labels
from med3d_pipeline.inference.latent_space import conformal_quantile

Floats = npt.NDArray[np.float64]
WORTH = 0.2
"""Share of the mean width that a measure must save before intervals follow it; fixed before any was tried."""
LEAST_SHARE = 0.25
"""Of the mean error: no head is expected to be wrong by less than this, whatever its measure says."""


@dataclass(frozen=True)
class ReactiveWidths:
    """What one measure of difficulty would make of the intervals. rank_r: with the absolute error; None for groups.

    mean_half_width: of the held-out subjects, in the label's unit. covered: share inside; by_third: the same where the
    intervals are narrowest, in the middle, and widest.
    """

    rank_r: float | None
    mean_half_width: float
    covered: float
    by_third: tuple[float, float, float]


def reactive_widths(found: HeldOut, labels: Labels, level: float) -> dict[str, ReactiveWidths]:
    """Return each measure's widths by name, "one width" first; the first repeat, which must have tested everybody."""
    errors, folds = np.abs(found.age[0] - labels.ages_years), found.folds[0]
    measures = {
        "distance from the training heads": found.distance[0],
        "distance from the nearest of them": found.neighbours[0],
        "the decoder's error": found.residual[0],
        "the estimate": found.age[0],
        "the estimate's distance from the middle": np.abs(found.age[0] - np.median(found.age[0])),
    }
    widths = {"one width": _score(errors, _held_out_widths(errors, folds, level, _same), None)}
    for name, measure in measures.items():
        expected = _expected_by(measure, errors)
        widths[name] = _score(errors, _held_out_widths(errors, folds, level, expected), measure)
    if len(np.unique(labels.sites)) > 1:
        widths["a width for each site"] = _score(errors, _widths_by_group(errors, folds, level, labels.sites), None)
    return widths


Expected = Callable[[npt.NDArray[np.int64]], Floats]
"""From the training rows of a fold to the error (N,) that is to be expected of every subject."""


def _held_out_widths(errors: Floats, folds: tuple[Fold, ...], level: float, expected: Expected) -> Floats:
    """Return half widths (N,): each fold's by what the other folds show of errors over expected ones."""
    widths = np.full(len(errors), np.nan)
    for fold in folds:
        scale = np.broadcast_to(expected(fold.training), errors.shape)
        quantile = conformal_quantile(errors[fold.training] / scale[fold.training], level)
        widths[fold.test] = quantile * scale[fold.test]
    return widths


def _widths_by_group(errors: Floats, folds: tuple[Fold, ...], level: float, groups: npt.NDArray[np.str_]) -> Floats:
    widths = np.full(len(errors), np.nan)
    for fold in folds:
        for group in np.unique(groups[fold.test]):
            own = fold.training[groups[fold.training] == group]
            widths[fold.test[groups[fold.test] == group]] = conformal_quantile(errors[own], level)
    return widths


def _same(_training: npt.NDArray[np.int64]) -> Floats:
    return np.ones(1)


def _expected_by(measure: Floats, errors: Floats) -> Expected:
    """Return the training subjects' regression of errors on the measure, held above a share of their mean."""

    def expected(training: npt.NDArray[np.int64]) -> Floats:
        slope, intercept = np.polyfit(measure[training], errors[training], 1)
        least = LEAST_SHARE * float(errors[training].mean())
        return np.asarray(np.maximum(intercept + slope * measure, least))

    return expected


def _score(errors: Floats, widths: Floats, measure: Floats | None) -> ReactiveWidths:
    inside = errors <= widths
    third = np.minimum(3 * (rankdata(widths, method="ordinal") - 1) // len(widths), 2)
    low, middle, high = (float(inside[third == part].mean()) for part in range(3))
    rank_r = None if measure is None else float(spearmanr(measure, errors).statistic)
    return ReactiveWidths(rank_r, float(widths.mean()), float(inside.mean()), (low, middle, high))
