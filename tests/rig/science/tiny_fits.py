"""Fits of a tiny network to noise, here and not beside their tests: a process that is started anew must find them."""

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from med3d_export.config import TrainingConfig
from med3d_export.training import EpochReport, FittedAutoencoder, Targets, TrainingError, fit_autoencoder

SUBJECTS = 12


def recipe(**sections: dict[str, Any]) -> TrainingConfig:
    whole: dict[str, Any] = {
        "name": "tiny", "version": "0", "seed": 5, "threads": 1,
        "network": {"encoder_channels": [4, 8], "decoder_channels": [4, 8], "linear_rank": 4, "latent": 8},
        "objective": {"a": 0.5, "l": 2.0, "decoder_sd": 0.1, "bank": 8},
        "optimiser": {"epochs": 4, "batch": 4, "learning_rate": 1e-3, "weight_decay": 0.01, "ema_decay": 0.8},
        "population": {
            "name": "noise", "description": "x", "source": "x", "licence": "x", "field_strengths_t": [3.0], "vendors": ["x"],
        },
    }  # fmt: skip
    for name, changed in sections.items():
        whole[name] = changed if name == "objective" else {**whole.get(name, {}), **changed}
    return TrainingConfig.model_validate(whole)


def tensors(count: int = SUBJECTS) -> np.ndarray:
    return np.random.default_rng(0).random((count, 16, 16, 16)).astype(np.float32)


def people(count: int = SUBJECTS) -> np.ndarray:
    return np.array([f"s{number}" for number in range(count)])


def labelled(count: int = SUBJECTS) -> Targets:
    """Brightness of the middle, a coin, and two sites."""
    middle = tensors(count)[:, 4:12, 4:12, 4:12].mean(axis=(1, 2, 3))
    coin = (np.arange(count) % 2).astype(np.float32)
    values = np.stack([(middle - middle.mean()) / middle.std(), coin], 1).astype(np.float32)
    values[0, 0] = np.nan
    weights = np.ones(2, np.float32)
    return Targets(values, weights, ("squared", "logistic"), np.arange(count) % 2, 0.1, people(count))


def fit(
    config: TrainingConfig,
    folder: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    seed: int = 1,
) -> FittedAutoencoder:
    return fit_autoencoder(tensors(), labelled(), config, seed, on_epoch, folder)


def fit_on_a_small_disk(folder: Path, answers: Any) -> None:
    """The first checkpoint fits, then files may grow no further than half of it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def shrink(report: EpochReport) -> None:
        if report.epoch == 1:
            half = (folder / "last.ckpt").stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))

    try:
        fit(recipe(), folder, shrink)
    except TrainingError as error:
        answers.put((error.code, str(error), error.checkpoint))
