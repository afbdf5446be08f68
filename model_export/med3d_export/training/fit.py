"""Fit an autoencoder with Lightning; a run that was cut short goes on from its last epoch."""

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from med3d_export.augmentation import vary_some_at_a_time
from med3d_export.config import TrainingConfig
from med3d_export.networks import HeadStatistics
from med3d_export.training.batches import Batches, set_apart
from med3d_export.training.callbacks import NO_ROOM, AveragedWeights, BestAveragedWeights, WholeCheckpoints, write_whole
from med3d_export.training.fitted import FittedAutoencoder
from med3d_export.training.randomness import Purpose, generator
from med3d_export.training.task import HELD_OUT_TOTAL, AutoencoderTask
from med3d_export.training.values import EpochReport, Targets, Tensors, TrainingError

LAST = "last.ckpt"
DONE = "fitted.pt"
"""Averaged weights and loss curve of a fit that has come to its end."""
RECIPE = "recipe.sha256"
OnEpoch = Callable[[EpochReport], None]
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")


def fit_autoencoder(
    tensors: Tensors,
    targets: Targets,
    config: TrainingConfig,
    seed: int,
    on_epoch: OnEpoch | None = None,
    folder: Path | None = None,
) -> FittedAutoencoder:
    """Train on ``tensors`` (N, X, Y, Z) and return the exponential moving average of the weights.

    folder: for the checkpoint of the last epoch, TensorBoard's events, and what a later call goes on from; None:
    nothing is kept. The same seed, data and thread count give the same weights on the same machine, cut short and
    gone on with or not. Raises TrainingError where memory or disk are full, a loss is not finite, or the checkpoint
    is of another recipe.
    """
    with _faults(folder), _quiet():
        task, batches = _start(tensors, targets, config, seed)
        task.on_epoch = on_epoch
        resumed = None if folder is None else _checkpoint_of(folder, recipe_digest(tensors, targets, config, seed))
        if folder is not None and (folder / DONE).is_file():
            task.load_state_dict(torch.load(folder / DONE, weights_only=True))
            return _fitted(task)
        with tempfile.TemporaryDirectory() as nowhere:
            trainer = _trainer(config, folder, Path(nowhere), watched=len(batches.watched) > 0)
            trainer.fit(task, batches, ckpt_path=resumed)
        if folder is not None:
            write_whole(task.state_dict(), folder / DONE)
            (folder / LAST).unlink(missing_ok=True)
    return _fitted(task)


def _fitted(task: AutoencoderTask) -> FittedAutoencoder:
    return FittedAutoencoder(task.encoder.cpu().eval(), task.decoder.cpu().eval(), task.curve)


def start_autoencoder(tensors: Tensors, targets: Targets, config: TrainingConfig, seed: int) -> FittedAutoencoder:
    """Return the networks before the first step."""
    task, _ = _start(tensors, targets, config, seed)
    return FittedAutoencoder(task.encoder.eval(), task.decoder.eval(), ())


def _start(tensors: Tensors, targets: Targets, config: TrainingConfig, seed: int) -> tuple[AutoencoderTask, Batches]:
    _require_finite(tensors)
    torch.manual_seed(seed)
    torch.set_num_threads(config.threads)
    own, watched = set_apart(targets.subjects, config.optimiser.held_out_fraction, seed)
    images, labels = _images(tensors, own), targets.at(own)
    task = AutoencoderTask(config, HeadStatistics.of(images), labels, seed)
    # Channels last halves the time of a step on CPUs; the values are the same.
    task = task.to(memory_format=torch.channels_last_3d)
    task.encoder.start_from(images, _varied(task, images, config.network.start_copies, seed))
    started = FittedAutoencoder(task.encoder, task.decoder, ())
    task.decoder.start_from(task.encoder, lambda: torch.from_numpy(started.encode(images[:, 0].numpy())), images)
    apart = (_images(tensors, watched), targets.at(watched))
    return task, Batches(images, labels, apart, config.optimiser.batch, seed)


def _varied(task: AutoencoderTask, images: Tensor, copies: int, seed: int) -> Tensor:
    """Return varied copies (copies * N, 1, X, Y, Z), all of the first draw before the second."""
    made = [images[:0]]
    for copy in range(copies):
        chance = generator(seed, Purpose.START, copy, 0, images.device)
        made.append(vary_some_at_a_time(images, task.augmentation, chance))
    return torch.cat(made)


def _images(tensors: Tensors, rows: np.ndarray) -> Tensor:
    whole = len(rows) == len(tensors)
    return torch.from_numpy(tensors if whole else tensors[rows])[:, None]


def _require_finite(tensors: Tensors) -> None:
    wrong = np.flatnonzero(~np.isfinite(tensors).all(axis=(1, 2, 3)))
    if len(wrong):
        listed = ", ".join(str(row) for row in wrong[:10])
        raise TrainingError("bad_tensors", f"the tensors at places {listed} hold values that are not finite")


def _trainer(config: TrainingConfig, folder: Path | None, nowhere: Path, *, watched: bool) -> Trainer:
    optimiser, hardware = config.optimiser, config.hardware
    early = watched and optimiser.patience > 0
    averaging = BestAveragedWeights if early else AveragedWeights
    callbacks: list[Callback] = [averaging(decay=optimiser.ema_decay)]
    if early:
        callbacks.append(EarlyStopping(HELD_OUT_TOTAL, patience=optimiser.patience, check_finite=False))
    if folder is not None:
        callbacks.append(
            ModelCheckpoint(
                folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False, every_n_epochs=1
            )
        )
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        strategy=hardware.strategy,
        precision=hardware.precision,
        max_epochs=optimiser.epochs,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=False if folder is None else TensorBoardLogger(folder, name="tensorboard", version=""),
        default_root_dir=nowhere if folder is None else folder,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=None if watched else 0,
        log_every_n_steps=1,
        deterministic="warn" if hardware.accelerator != "cpu" else None,
    )


def recipe_digest(tensors: Tensors, targets: Targets, config: TrainingConfig, seed: int) -> str:
    """Return the digest of everything that decides the weights; the number of epochs and the hardware are among it."""
    digest = hashlib.sha256(np.ascontiguousarray(tensors).data)
    digest.update(targets.values.tobytes() + targets.weights.tobytes() + targets.sites.tobytes())
    parts = ("network", "objective", "reconstruction", "supervision", "augmentation", "optimiser", "hardware")
    said = {part: getattr(config, part).model_dump(mode="json") for part in parts}
    said |= {"seed": seed, "threads": config.threads, "losses": targets.losses, "site_weight": targets.site_weight}
    digest.update(json.dumps(said, sort_keys=True).encode())
    return digest.hexdigest()


def _checkpoint_of(folder: Path, recipe: str) -> Path | None:
    """Return the checkpoint to go on from; None where the folder is new."""
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / RECIPE
    if said.is_file() and said.read_text(encoding="ascii").strip() != recipe:
        raise TrainingError(
            "checkpoint_mismatch",
            "the folder holds a run of another recipe, cohort or seed; choose another folder, or empty it",
        )
    said.write_text(recipe + "\n", encoding="ascii")
    return folder / LAST if (folder / LAST).is_file() else None


@contextmanager
def _faults(folder: Path | None) -> Iterator[None]:
    """Raise full memory and disks as TrainingErrors that say where the last good checkpoint is."""
    try:
        yield
    except TrainingError as error:
        kept = error.code != "checkpoint_mismatch"
        raise error.with_checkpoint(_kept(folder) if kept else None) from error.__cause__
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in _NO_MEMORY):
            raise
        said = "memory is full; lower batch, or set checkpointing to activations"
        raise TrainingError("out_of_memory", said, _kept(folder)) from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise TrainingError("disk_full", "there is no room left on the disk; free some", _kept(folder)) from error


def _kept(folder: Path | None) -> Path | None:
    return folder / LAST if folder is not None and (folder / LAST).is_file() else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on data loaders and devices is for other people's programs."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            # The folder is not empty because the run goes on, which the recipe's digest has just allowed.
            warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty", UserWarning)
            # How Lightning reads its own structures, which torch has since renamed.
            warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
