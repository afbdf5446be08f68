"""What is done around a fit: averaged weights, those of the best epoch, and whole checkpoints."""

import errno
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from med3d_export.training.task import AutoencoderTask
from med3d_export.training.values import TrainingError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class AveragedWeights(WeightAveraging):
    """The exponential moving average of the weights is what is watched and what is left after training.

    Buffers stay as they are: an average of whole numbers, such as which cube a code is of, would be rounded down.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, avg_fn=partial(_moved, decay))


def _moved(decay: float, average: Tensor, current: Tensor, _steps: Tensor) -> Tensor:
    return decay * average + (1.0 - decay) * current


class BestAveragedWeights(AveragedWeights):
    """With an early stop: the averages of the epoch with the lowest held-out objective are left, not the last ones."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay)
        self.lowest = float("inf")
        self.best: dict[str, Tensor] = {}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: AutoencoderTask) -> None:
        """Put the averages in place, until the parent class takes them out again."""
        if (total := pl_module.held_out_total()) < self.lowest:
            self.lowest = total
            self.best = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: AutoencoderTask) -> None:
        """Put them back."""
        super().on_train_end(trainer, pl_module)
        with torch.no_grad():
            for name, value in pl_module.named_parameters():
                value.copy_(self.best.get(name, value))

    def state_dict(self) -> dict[str, Any]:
        """Return it for a checkpoint."""
        state: dict[str, Any] = super().state_dict()
        return state | {"lowest": self.lowest, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it from a checkpoint."""
        super().load_state_dict(state_dict)
        self.lowest, self.best = state_dict["lowest"], state_dict["best"]


class WholeCheckpoints(TorchCheckpointIO):
    """A checkpoint appears whole or not at all: what was there stays until the new one is on the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write beside the old one, then rename."""
        del storage_options
        write_whole(checkpoint, Path(path))


def write_whole(content: dict[str, Any], place: Path) -> None:
    """Write beside what is there, then rename. Raises TrainingError where there is no room."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    # Made in memory first: torch's own writer reports a full disk as a fault of its archive.
    made = io.BytesIO()
    torch.save(content, made)
    try:
        with part.open("wb") as file:
            file.write(made.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno in NO_ROOM:
            size = f"{made.getbuffer().nbytes / 2**20:.1f} MB"
            raise TrainingError("disk_full", f"there is no room for a checkpoint of {size}; free some") from error
        raise
