"""The fits of an experiment: one per outer fold, repeat and candidate, one to everyone; each leaves a file.

In every outer fold the encoder, too, is fitted anew. A run that was stopped goes on with the fits that have no file
yet.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from med3d_export.config import SupervisionConfig, TrainingConfig
from med3d_export.fold_evidence import BrainGrid, FitPlace, FoldEvidence, evidence_name, observe_fold
from med3d_export.processes import start_processes
from med3d_export.subjects.folds import Fold
from med3d_export.subjects.supervision import Supervision
from med3d_export.training import (
    EpochReport,
    FittedAutoencoder,
    Tensors,
    TrainingError,
    Weights,
    fit_autoencoder,
    rebuild,
    start_autoencoder,
    weights_of,
)
from med3d_export.training.fit import RECIPE, recipe_digest
from med3d_export.training_run import CHECKPOINTS, FITS, WEIGHTS, RunIncomplete, has_weights, save_curve, save_weights

OnEpoch = Callable[[str, EpochReport], None]
SEEDS_APART = 1000
"""Between two repeats; within one, fold k is fitted with the repeat's seed + k + 1, everyone with the seed itself."""
SAME = 1e-3
"""Latents have a variance of about 1, heads a brightness: what is further apart was not made by the same networks."""


@dataclass(frozen=True, eq=False)
class FitData:
    """What every fit shares: tensors (N, X, Y, Z), and the brain on the grid.

    supervision: the labels that may enter an encoder, by the section of the recipe that asks for them.
    """

    tensors: Tensors
    supervision: dict[SupervisionConfig, Supervision]
    grid: BrainGrid


@dataclass(frozen=True, eq=False)
class FitJob:
    """One fit; fold None is the fit to everyone. Its file is made in ``folder``.

    keeps_weights: the weights are stored beside the evidence, for what is asked of the fold's encoder later.
    """

    folder: Path
    config: TrainingConfig
    seed: int
    fold: int | None
    candidate: int
    training: Any
    test: Any
    keeps_weights: bool

    @property
    def name(self) -> str:
        """For people and for file names."""
        return "everyone" if self.fold is None else evidence_name(self.seed, self.fold, self.candidate)

    @property
    def own_seed(self) -> int:
        """Of this one fit."""
        return self.seed if self.fold is None else self.seed + self.fold + 1

    @property
    def place(self) -> Path:
        """Evidence of a fold; for everyone the folder of the weights."""
        return self.folder if self.fold is None else self.folder / FITS / f"{self.name}.npz"

    @property
    def weights(self) -> Path:
        """Folder of encoder.npz and decoder.npz."""
        return self.folder if self.fold is None else self.folder / WEIGHTS / self.name

    @property
    def is_done(self) -> bool:
        """Everything that the job makes is there."""
        weights = has_weights(self.weights)
        if self.fold is None:
            return weights
        return self.place.is_file() and (weights or not self.keeps_weights)


def repeat_seeds(config: TrainingConfig) -> tuple[int, ...]:
    """Return the seed of each whole cross-validation."""
    return tuple(config.seed + SEEDS_APART * repeat for repeat in range(config.evaluation.repeats))


def fold_jobs(
    folder: Path, candidates: tuple[TrainingConfig, ...], splits: dict[int, tuple[Fold, ...]]
) -> list[FitJob]:
    """Return a job per seed, fold and candidate; ``splits`` holds the folds of each repeat by its seed.

    Under the scope ``first-fold`` only the first fold of each repeat is fitted. The first repeat's weights are kept.
    """
    jobs = []
    for seed, folds in splits.items():
        tested = folds[:1] if candidates[0].evaluation.scope == "first-fold" else folds
        for number, fold in enumerate(tested):
            for candidate, config in enumerate(candidates):
                keeps = seed == next(iter(splits))
                jobs.append(FitJob(folder, config, seed, number, candidate, fold.training, fold.test, keeps))
    return jobs


def everyone_job(folder: Path, config: TrainingConfig, count: int) -> FitJob:
    """Return the fit that is released: all ``count`` rows train."""
    none = np.empty(0, dtype=np.int64)
    return FitJob(folder, config, config.seed, None, 0, np.arange(count), none, keeps_weights=True)


def require_same(data: FitData, jobs: list[FitJob]) -> None:
    """Raise TrainingError where a fit that is there was made from other heads, in another order, or by another recipe.

    Numbers of the two would be mixed, and rows of one manifest taken for those of another.
    """
    for job in jobs:
        said = job.folder / CHECKPOINTS / job.name / RECIPE
        if not job.is_done or not said.is_file():
            continue
        targets = data.supervision[job.config.supervision].targets(job.training)
        now = recipe_digest(data.tensors[job.training], targets, job.config, job.own_seed)
        if said.read_text(encoding="ascii").strip() != now:
            raise _of_another(job)


def _of_another(job: FitJob) -> TrainingError:
    return TrainingError(
        "checkpoint_mismatch",
        f"the fit {job.name} is of another recipe, cohort, order of rows or seed; choose another folder, or empty it",
    )


def run_jobs(data: FitData, jobs: list[FitJob], processes: int, on_epoch: OnEpoch) -> None:
    """Run what is not done yet, ``processes`` fits at once; a single one runs here. Their number changes no result.

    Raises TrainingError where what is done is of another recipe or cohort.
    """
    require_same(data, jobs)
    missing = [job for job in jobs if not job.is_done]
    if not missing:
        return
    if processes == 1:
        for job in missing:
            _fit(job, data, on_epoch)
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    listener = Thread(target=_listen, args=(reports, on_epoch), daemon=True)
    listener.start()
    try:
        with start_processes(processes, _open, (data, reports), "spawn") as pool:
            for done in as_completed([pool.submit(_fit_in_pool, job) for job in missing]):
                done.result()
    finally:
        reports.put(None)
        listener.join()


def read_evidence(data: FitData, jobs: list[FitJob]) -> list[FoldEvidence]:
    """Return what the fold jobs left behind.

    Raises RunIncomplete where one has not been run, TrainingError where one was run with another recipe or cohort.
    """
    missing = [job.name for job in jobs if not job.is_done]
    if missing:
        raise RunIncomplete(f"{len(missing)} fits are missing, the first is {missing[0]}: run med3d-export train")
    require_same(data, jobs)
    return [_evidence(job) for job in jobs if job.fold is not None]


def _evidence(job: FitJob) -> FoldEvidence:
    found = FoldEvidence.load(job.place)
    rows = np.array_equal(found.training, job.training) and np.array_equal(found.test, job.test)
    if not rows or len(found.copies) != job.config.evaluation.head_copies:
        raise _of_another(job)
    return found


def _listen(reports: Any, on_epoch: OnEpoch) -> None:
    while (message := reports.get()) is not None:
        on_epoch(*message)


# What every fit of one worker process shares; sent once instead of with each task.
_shared: list[tuple[FitData, Any]] = []


def _open(data: FitData, reports: Any) -> None:
    _shared.append((data, reports))


def _fit_in_pool(job: FitJob) -> None:
    data, reports = _shared[0]
    _fit(job, data, lambda name, report: reports.put((name, report)))


def _fit(job: FitJob, data: FitData, on_epoch: OnEpoch) -> None:
    seed = job.own_seed
    targets = data.supervision[job.config.supervision].targets(job.training)
    own = data.tensors[job.training]
    checkpoints = job.folder / CHECKPOINTS / job.name
    fitted = fit_autoencoder(own, targets, job.config, seed, lambda report: on_epoch(job.name, report), checkpoints)
    if job.fold is not None:
        start = partial(start_autoencoder, own, targets, job.config, seed)
        place = FitPlace(
            job.seed, job.fold, job.candidate, job.training, job.test, job.config.augmentation,
            job.config.evaluation.head_copies,
        )  # fmt: skip
        observe_fold(fitted, start, data.tensors, place, data.grid).save(job.place)
    else:
        save_curve(fitted.curve, job.folder)
    if job.keeps_weights:
        save_weights(checked_weights(fitted, job.config, own[:2]), job.weights)
    # What is left for TensorBoard is small; checkpoints are not, and have done their work.
    for checkpoint in (*checkpoints.rglob("*.ckpt"), *checkpoints.rglob("*.pt")):
        checkpoint.unlink()


def checked_weights(fitted: FittedAutoencoder, config: TrainingConfig, heads: Tensors) -> Weights:
    """Return the weights of what was fitted, which must make the same networks again: these are released.

    heads (N, X, Y, Z): to ask both. Raises TrainingError where they answer otherwise.
    """
    weights = weights_of(fitted)
    again, latents = rebuild(weights, config), fitted.encode(heads)
    pairs = ((again.encode(heads), latents), (again.reconstruct(latents), fitted.reconstruct(latents)))
    if not all(np.allclose(one, other, atol=SAME) for one, other in pairs):
        raise TrainingError(
            "weights_differ", "the weights do not make the fitted networks again: a fault of this program"
        )
    return weights
