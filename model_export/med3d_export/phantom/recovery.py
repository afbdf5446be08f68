"""Which factors a latent recovers, and how far that is from what could be known at all."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from med3d_export.evaluation.uncertainty import Interval, PairedComparison, bootstrap_table, compare_paired
from med3d_export.phantom.factors import PhantomFactors
from med3d_export.subjects.folds import Fold

Floats = npt.NDArray[np.float64]
IN_THE_IMAGE = ("ventricle_mm", "atrophy_mm", "log_lesion_ml", "log_gamma")
"""What shaped the image directly: without noise each could be read off it, so the ceiling of its R2 is 1."""
MADE_FROM_THEM = ("age_years", "sdmt")
"""What lies behind: its own deviation is not in the image, so the ceiling is what the true factors above know of it."""
FACTORS = (*MADE_FROM_THEM, *IN_THE_IMAGE)
_PENALTIES = np.logspace(-2, 5, 15)


@dataclass(frozen=True)
class FactorScore:
    """One factor: R2 with its 95 % interval over people, the ceiling, and the paired difference from the reference.

    versus_reference: squared error in units of the factor's variance, this method minus the reference, so that negative
    favours this method; None for the reference itself.
    """

    factor: str
    r2: Interval
    ceiling: float
    versus_reference: PairedComparison | None


@dataclass(frozen=True)
class FactorRecovery:
    """What one method recovers."""

    method: str
    scores: tuple[FactorScore, ...]

    def score(self, factor: str) -> FactorScore:
        """Return the draw of one factor."""
        return next(score for score in self.scores if score.factor == factor)


def factor_table(factors: PhantomFactors) -> Floats:
    """Return (N, F) the truth in the order of FACTORS; lesions as log(1 + ml), since SDMT falls with that."""
    columns = {
        "age_years": factors.ages_years,
        "sdmt": factors.sdmt,
        "ventricle_mm": factors.ventricle_mm,
        "atrophy_mm": factors.atrophy_mm,
        "log_lesion_ml": np.log1p(factors.lesion_ml),
        "log_gamma": factors.log_gamma,
    }
    return np.stack([columns[name] for name in FACTORS], axis=1)


def read_out(own: npt.NDArray[np.floating], truth: Floats, others: npt.NDArray[np.floating]) -> Floats:
    """Return linear estimates (M, F) for ``others`` (M, d) by ridge on ``own`` (N, d), a penalty for each factor."""
    reader = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES, alpha_per_target=True))
    estimates: Floats = reader.fit(own, truth).predict(others)
    return estimates


def ceilings(truth: Floats, folds: tuple[Fold, ...]) -> Floats:
    """Return the highest R2 (F,) to expect: 1 for what is in the image, for the rest that of the true factors."""
    inside = truth[:, len(MADE_FROM_THEM) :]
    estimates = np.full_like(truth, np.nan)
    for fold in folds:
        estimates[fold.test] = read_out(inside[fold.training], truth[fold.training], inside[fold.test])
    known = _r2(estimates, truth)
    known[len(MADE_FROM_THEM) :] = 1.0
    return known


def recover_factors(
    estimates: dict[str, Floats], truth: Floats, folds: tuple[Fold, ...], reference: str, seed: int
) -> tuple[FactorRecovery, ...]:
    """Score out-of-fold ``estimates`` by method, each (S, N, F) of S seeds, against ``truth`` (N, F).

    Errors are averaged over seeds before subjects are drawn or paired: seeds are no further subjects.
    """
    limits = ceilings(truth, folds)
    variance = truth.var(axis=0)
    errors = {name: np.square(found - truth).mean(axis=0) / variance for name, found in estimates.items()}
    recovered = []
    for name, error in errors.items():
        scores = [
            FactorScore(
                factor=factor,
                r2=_interval(error[:, place], truth[:, place], seed),
                ceiling=float(limits[place]),
                versus_reference=None
                if name == reference
                else compare_paired(error[:, place], errors[reference][:, place], seed),
            )
            for place, factor in enumerate(FACTORS)
        ]
        recovered.append(FactorRecovery(name, tuple(scores)))
    return tuple(recovered)


def _r2(estimates: Floats, truth: Floats) -> Floats:
    return np.asarray(1.0 - np.square(estimates - truth).mean(axis=0) / truth.var(axis=0))


def _interval(error: Floats, truth: Floats, seed: int) -> Interval:
    """Return R2 of squared errors (N,) in units of the variance of everyone.

    A draw of people has a variance of its own.
    """

    def of_draw(rows: npt.NDArray[np.int64]) -> dict[str, float]:
        return {"r2": float(1.0 - error[rows].mean() * truth.var() / truth[rows].var())}

    return bootstrap_table(of_draw, len(error), seed)["r2"]
