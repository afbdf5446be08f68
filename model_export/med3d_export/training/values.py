"""What goes into a fit and what it says of itself."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Tensors = npt.NDArray[np.float32]
"""(N, X, Y, Z) float32 on the preprocessing grid."""
TargetLoss = Literal["squared", "logistic"]
TrainingFault = Literal[
    "out_of_memory", "loss_not_finite", "disk_full", "checkpoint_mismatch", "weights_differ", "bad_tensors"
]  # fmt: skip
NO_SITE = -1


class TrainingError(Exception):
    """Training cannot go on. ``code`` is stable; ``checkpoint`` is the last good one, None where there is none."""

    def __init__(self, code: TrainingFault, message: str, checkpoint: Path | None = None) -> None:
        kept = f"; {checkpoint.name} holds the last good epoch: run again to go on from it" if checkpoint else ""
        super().__init__(f"{code}: {message}{kept}")
        self.code, self.message, self.checkpoint = code, message, checkpoint

    def with_checkpoint(self, checkpoint: Path | None) -> "TrainingError":
        """Return the same fault, saying where the last good checkpoint is."""
        return TrainingError(self.code, self.message, checkpoint)


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of N training subjects for the semi-supervision, and who they are.

    values: (N, T) float32, standardised or 0 and 1, NaN where a subject has none. weights, losses: (T,). sites: (N,)
    the number of the site, NO_SITE where the adversary is off. subjects: (N,) who it is; rows of one subject stay
    together.
    """

    values: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    losses: tuple[TargetLoss, ...]
    sites: npt.NDArray[np.int64]
    site_weight: float
    subjects: npt.NDArray[np.str_]

    @classmethod
    def none(cls, subjects: npt.NDArray[np.str_]) -> Self:
        """No labels at all: an unsupervised fit."""
        count = len(subjects)
        nobody = np.full(count, NO_SITE)
        return cls(np.empty((count, 0), np.float32), np.empty(0, np.float32), (), nobody, 0.0, subjects)

    def at(self, rows: npt.NDArray[np.int64]) -> "Targets":
        """Return those of some rows."""
        return Targets(
            self.values[rows], self.weights, self.losses, self.sites[rows], self.site_weight, self.subjects[rows]
        )


@dataclass(frozen=True)
class EpochReport:
    """Averages over one epoch: the objective in nats per voxel, and its unweighted terms by name.

    held_out: the same on the subjects that the fit set apart, by the averaged weights; empty where it set none apart.
    """

    epoch: int
    total: float
    terms: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)

    @property
    def supervised(self) -> float:
        """Loss of the label heads; 0 where there are none."""
        return self.terms.get("supervised", 0.0)

    def plain(self) -> dict[str, Any]:
        """Return it for JSON; ``EpochReport(**plain)`` reads it back."""
        return asdict(self)
