"""Batches of training and held-out subjects, the same ones whenever an epoch is run again."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from med3d_export.training.randomness import Purpose, derived_seed
from med3d_export.training.values import Targets

Indices = npt.NDArray[np.int64]


class EpochOrder(Sampler[int]):
    """A new order in each epoch, by seed; each of ``processes`` sees a share of its own."""

    def __init__(self, count: int, seed: int, process: int, processes: int) -> None:
        self.count, self.seed, self.process, self.processes = count, seed, process, processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.processes

    def __iter__(self) -> Iterator[int]:
        drawn = torch.Generator().manual_seed(derived_seed(self.seed, Purpose.ORDER, self.epoch))
        order = torch.randperm(self.count, generator=drawn).tolist()
        return iter(order[self.process :: self.processes][: len(self)])


def set_apart(subjects: npt.NDArray[np.str_], share: float, seed: int) -> tuple[Indices, Indices]:
    """Return rows to train on and rows to watch the loss on; no subject is in both. ``share`` 0: none are set apart."""
    people = np.array(list(dict.fromkeys(subjects.tolist())))
    count = round(share * len(people))
    chance = np.random.default_rng(derived_seed(seed, Purpose.SET_APART))
    watched = np.isin(subjects, chance.permutation(people)[:count])
    return np.flatnonzero(~watched), np.flatnonzero(watched)


class Batches(LightningDataModule):
    """Everything in memory: a thousand heads on the 64^3 grid are one gigabyte."""

    def __init__(
        self, images: Tensor, targets: Targets, watched: tuple[Tensor, Targets], batch: int, seed: int
    ) -> None:
        super().__init__()
        self.training = _dataset(images, targets)
        self.watched = _dataset(*watched)
        self.batch, self.seed = batch, seed

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return full batches in the epoch's order; who is left over has a turn in another epoch."""
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        order = EpochOrder(len(self.training), self.seed, rank, world)
        return DataLoader(self.training, min(self.batch, len(order)), sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]] | list[None]:
        """Return the subjects set apart, always in the same order."""
        return DataLoader(self.watched, self.batch) if len(self.watched) else []


def _dataset(images: Tensor, targets: Targets) -> TensorDataset:
    return TensorDataset(images, torch.from_numpy(targets.values), torch.from_numpy(targets.sites))
