"""Cross-validation in which the encoder, too, is fitted anew in every outer fold."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_export.config import TrainingConfig
from med3d_export.folds import Fold
from med3d_export.heads import fit_head
from med3d_export.latent_maps import shrunk_covariance
from med3d_export.supervision import Supervision
from med3d_export.training import EpochReport, Tensors, fit_infovae

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What subjects got from models that had not seen them, in the cohort's order; each array is (N,).

    age_estimates in years; sdmt_estimates in points; distances: Mahalanobis from the fold's training latents;
    reconstruction_errors: squared error of the fold's autoencoder over that of the fold's mean head.
    """

    age_estimates: Floats
    sdmt_estimates: Floats
    distances: Floats
    reconstruction_errors: Floats


def cross_validate(
    tensors: Tensors,
    supervision: Supervision,
    sdmt: Floats,
    folds: tuple[Fold, ...],
    config: TrainingConfig,
    on_epoch: Callable[[int, EpochReport], None] = lambda _fold, _report: None,
) -> OutOfFold:
    """Fit encoder and heads on each fold's training subjects and apply them to its test subjects."""
    ages = supervision.ages_years
    results = {name: np.full(len(ages), np.nan) for name in ("age", "sdmt", "distance", "reconstruction")}
    inner = config.evaluation.inner_folds
    for number, fold in enumerate(folds):
        targets = supervision.targets(fold.training)

        def report(epoch: EpochReport, number: int = number) -> None:
            on_epoch(number, epoch)

        fitted = fit_infovae(tensors[fold.training], targets, config, config.seed + number, report)
        own, other = fitted.encode(tensors[fold.training]), fitted.encode(tensors[fold.test])
        results["age"][fold.test] = fit_head(own, ages[fold.training], inner, config.seed).predict(other)
        results["sdmt"][fold.test] = fit_head(own, sdmt[fold.training], inner, config.seed).predict(other)
        results["distance"][fold.test] = shrunk_covariance(own.astype(np.float64)).distance(other)
        results["reconstruction"][fold.test] = _relative_error(
            tensors[fold.test], fitted.reconstruct(other), tensors[fold.training].mean(axis=0)
        )
    return OutOfFold(results["age"], results["sdmt"], results["distance"], results["reconstruction"])


def _relative_error(tensors: Tensors, reconstructed: Tensors, mean_head: npt.NDArray[np.float32]) -> Floats:
    axes = (1, 2, 3)
    error = np.square(reconstructed - tensors).sum(axis=axes)
    return np.asarray(error / np.square(mean_head - tensors).sum(axis=axes), dtype=np.float64)
