"""Cross-validation in which the encoder, too, is fitted anew in every outer fold, and the fit to everyone beside it."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from med3d_export.config import TrainingConfig
from med3d_export.folds import Fold
from med3d_export.heads import fit_head
from med3d_export.latent_maps import shrunk_covariance
from med3d_export.supervision import Supervision
from med3d_export.training import EpochReport, Tensors, Weights, fit_infovae, start_infovae, weights_of

Floats = npt.NDArray[np.float64]
OnEpoch = Callable[[str, EpochReport], None]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What subjects got from models that had not seen them, in the cohort's order; each array is (N,).

    age_estimates in years; start_estimates: the same before the encoder was trained; sdmt_estimates in points;
    distances: Mahalanobis from the fold's training latents; reconstruction_errors: squared error of the fold's
    autoencoder over that of the fold's mean head.
    """

    age_estimates: Floats
    start_estimates: Floats
    sdmt_estimates: Floats
    distances: Floats
    reconstruction_errors: Floats


@dataclass(frozen=True, eq=False)
class Labelled:
    """tensors (N, X, Y, Z); ages and volumes in ``supervision``; sdmt: simulated scores (N,) in points."""

    tensors: Tensors
    supervision: Supervision
    sdmt: Floats


def fit_all(
    data: Labelled, folds: tuple[Fold, ...], config: TrainingConfig, jobs: int, on_epoch: OnEpoch
) -> tuple[OutOfFold, Weights, list[EpochReport]]:
    """Fit once per fold and once to everyone; ``jobs`` fits run at once in processes of their own.

    Returns what the folds' models said of their test subjects, and weights and loss curve of the fit to everyone.
    The number of jobs changes no result.
    """
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    listener = Thread(target=_listen, args=(reports, on_epoch), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(jobs, context, initializer=_open, initargs=(data, config, reports)) as pool:
            everyone = pool.submit(_fit_everyone)
            parts = [pool.submit(_fit_fold, number, fold) for number, fold in enumerate(folds)]
            found = [part.result() for part in parts]
            weights, curve = everyone.result()
    finally:
        reports.put(None)
        listener.join()
    return _joined(found, folds, len(data.tensors)), weights, curve


def _joined(parts: list[OutOfFold], folds: tuple[Fold, ...], count: int) -> OutOfFold:
    arrays = {field.name: np.full(count, np.nan) for field in fields(OutOfFold)}
    for part, fold in zip(parts, folds, strict=True):
        for name, array in arrays.items():
            array[fold.test] = getattr(part, name)
    return OutOfFold(**arrays)


def _listen(reports: Any, on_epoch: OnEpoch) -> None:
    while (message := reports.get()) is not None:
        on_epoch(*message)


# What every fit of one worker process shares; sent once instead of with each task.
_shared: list[tuple[Labelled, TrainingConfig, Any]] = []


def _open(data: Labelled, config: TrainingConfig, reports: Any) -> None:
    _shared.append((data, config, reports))


def _fit_everyone() -> tuple[Weights, list[EpochReport]]:
    data, config, reports = _shared[0]
    targets = data.supervision.targets(np.arange(len(data.tensors)))
    fitted = fit_infovae(data.tensors, targets, config, config.seed, lambda r: reports.put(("everyone", r)))
    return weights_of(fitted), list(fitted.curve)


def _fit_fold(number: int, fold: Fold) -> OutOfFold:
    data, config, reports = _shared[0]
    tensors, inner, name = data.tensors, config.evaluation.inner_folds, f"fold {number + 1}"
    targets = data.supervision.targets(fold.training)
    fitted = fit_infovae(
        tensors[fold.training], targets, config, config.seed + number + 1, lambda r: reports.put((name, r))
    )
    own, other = fitted.encode(tensors[fold.training]), fitted.encode(tensors[fold.test])
    start = start_infovae(tensors[fold.training], targets, config, config.seed + number + 1)
    start_own, start_other = start.encode(tensors[fold.training]), start.encode(tensors[fold.test])
    mean_head = tensors[fold.training].mean(axis=0)
    ages, sdmt = data.supervision.ages_years[fold.training], data.sdmt[fold.training]
    return OutOfFold(
        age_estimates=fit_head(own, ages, inner, config.seed).predict(other),
        start_estimates=fit_head(start_own, ages, inner, config.seed).predict(start_other),
        sdmt_estimates=fit_head(own, sdmt, inner, config.seed).predict(other),
        distances=shrunk_covariance(own.astype(np.float64)).distance(other),
        reconstruction_errors=_relative_error(tensors[fold.test], fitted.reconstruct(other), mean_head),
    )


def _relative_error(tensors: Tensors, reconstructed: Tensors, mean_head: npt.NDArray[np.float32]) -> Floats:
    axes = (1, 2, 3)
    error = np.square(reconstructed - tensors).sum(axis=axes)
    return np.asarray(error / np.square(mean_head - tensors).sum(axis=axes), dtype=np.float64)
