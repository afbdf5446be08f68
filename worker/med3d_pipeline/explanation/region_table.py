"""explanation.npz of a bundle: groups of brain regions on the model's grid, and what they usually say of an age."""

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.encoder import Float32

FILE = "explanation.npz"
VENTRICLES = "ventricles"
"""The group with the ventricles and what is ventricle in one of ten heads around them."""
SMOOTHING_VOXELS = 1.0
"""Standard deviation with which regions go over into each other: a sharp edge would be anatomy that no head has."""
_REACH = 4
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RegionTable:
    """k groups of regions. names (k,); labels (X, Y, Z) uint8: the group of each voxel plus 1, none left without one.

    What a group says of a head, in years, is the estimate minus that of the head whose group looks like the mean
    head's. ``middles`` (k,) and ``slopes`` (k,), years per year: what it says of heads of ``mean_age_years`` and how
    that goes with age; ``spreads`` (k,): its standard deviation among heads of one age.
    """

    names: npt.NDArray[np.str_]
    labels: npt.NDArray[np.uint8]
    middles: Floats
    slopes: Floats
    spreads: Floats
    mean_age_years: Floats
    fluid_threshold: Floats

    @classmethod
    def load(cls, path: Path, grid_shape: tuple[int, int, int]) -> Self:
        """Read the npz without pickle. Raises BundleError where an array is missing, misshapen or not finite."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                table = cls(**{name: archive[name] for name in cls.__dataclass_fields__})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path.name} cannot be read or lacks an array: {error}") from error
        table.check(path.name, grid_shape)
        return table

    def save(self, path: Path) -> None:
        """Write the npz."""
        np.savez_compressed(path, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    def check(self, name: str, grid_shape: tuple[int, int, int]) -> None:
        """Raise BundleError where the arrays do not fit each other or the grid."""
        count = len(self.names)
        single = np.array([self.mean_age_years, self.fluid_threshold], dtype=np.float64)
        numbers = np.concatenate([self.middles, self.slopes, self.spreads, single.reshape(-1)])
        fits = self.labels.shape == grid_shape and self.labels.dtype == np.uint8 and numbers.shape == (3 * count + 2,)
        if not count or not fits or not np.isfinite(numbers).all():
            raise BundleError(f"{name}: its arrays do not fit each other or the grid {grid_shape}")
        if self.labels.min() < 1 or self.labels.max() > count:
            raise BundleError(f"{name}: its labels must be 1 to {count}")
        if VENTRICLES not in self.names.tolist():
            raise BundleError(f"{name}: it has no group {VENTRICLES!r}")

    @cached_property
    def weights(self) -> Float32:
        """How much of each voxel belongs to each group, (k, X, Y, Z) float32, 1 in all."""
        parts = np.stack([_smooth((self.labels == group + 1).astype(np.float32)) for group in range(len(self.names))])
        shares: Float32 = parts / parts.sum(axis=0)
        return shares

    def ventricle_voxels(self, heads: Float32) -> npt.NDArray[np.int64]:
        """Tell how many voxels of heads (N, X, Y, Z) are fluid where ventricles may be."""
        inside = self.labels == self.names.tolist().index(VENTRICLES) + 1
        return np.asarray((heads[:, inside] < self.fluid_threshold).sum(axis=1), dtype=np.int64)

    def usual_years(self, age_years: float | None) -> Floats:
        """Return what each group (k,) says of heads of an age; None: of the cohort's mean age."""
        ages = 0.0 if age_years is None else age_years - float(self.mean_age_years)
        return self.middles + self.slopes * ages


def _smooth(part: Float32) -> Float32:
    at = np.arange(-_REACH, _REACH + 1)
    kernel = np.exp(-0.5 * (at / SMOOTHING_VOXELS) ** 2)
    kernel /= kernel.sum()
    for axis in range(3):
        padding = [(_REACH, _REACH) if other == axis else (0, 0) for other in range(3)]
        padded, size = np.pad(part, padding, mode="edge"), part.shape[axis]
        parts = [
            np.float32(weight) * np.take(padded, range(start, start + size), axis=axis)
            for start, weight in enumerate(kernel)
        ]
        part = np.sum(parts, axis=0, dtype=np.float32)
    return part
