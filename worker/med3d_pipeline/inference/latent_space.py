"""The latent space as training left it: maps, distances, calibration. Plain numpy, read from latent_space.npz."""

import math
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import BundleError

_OPTIONAL = frozenset({"sdmt_residuals", "held_out_reconstruction_errors"})
FEWEST_IN_COHORT = 10
SAME_SCAN = 1e-3
"""In standard deviations of the cohort's map coordinates."""
Floats = npt.NDArray[np.float64]
Latents = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Arrays of latent_space.npz; d is the latent's dimension, n the number of training subjects.

    Maps (``pca``, ``pls_age``, ``pls_sdmt``): ``_mean`` (d,) and ``_axes`` (2, d); coordinates are (z - mean) axes^T,
    ``cohort_*`` (n, 2) those of the training subjects, (0, 2) where the bundle keeps them private. ``pls_sdmt_axes``
    and ``cohort_pls_sdmt`` are empty, (0, d) and (0, 2), where there is no SDMT head.

    Distance (Mahalanobis under a shrunk covariance, Ledoit and Wolf 2004): ``distance_mean`` (d,), orthonormal
    ``distance_axes`` (k, d) with variances ``distance_variances`` (k,), and ``distance_floor`` () in all other
    directions. ``held_out_distances`` (n,) are those of subjects outside the fold that gave mean and covariance.
    ``held_out_reconstruction_errors`` (n,) are theirs by that fold's decoder (see Reconstruction); empty in bundles
    without a decoder and in those that are older than this array.

    Calibration: ``residuals`` (n,) estimate - age of subjects whom neither encoder nor head had seen, years;
    ``corrected_residuals`` (n,) the same with the age bias of the other folds taken out; ``age_bias`` (2,) intercept
    and slope of the gap on age. ``sdmt_residuals`` (m,) estimate - score in points of the m held-out subjects with a
    measured score; empty where there is none, and in bundles older than this array. Population: ``ages`` (n,)
    years, ``field_strengths_t``, ``vendors`` (upper case).
    """

    pca_mean: Floats
    pca_axes: Floats
    pls_age_mean: Floats
    pls_age_axes: Floats
    pls_sdmt_mean: Floats
    pls_sdmt_axes: Floats
    cohort_pca: Floats
    cohort_pls_age: Floats
    cohort_pls_sdmt: Floats
    distance_mean: Floats
    distance_axes: Floats
    distance_variances: Floats
    distance_floor: Floats
    held_out_distances: Floats
    residuals: Floats
    corrected_residuals: Floats
    age_bias: Floats
    ages: Floats
    field_strengths_t: Floats
    vendors: npt.NDArray[np.str_]
    sdmt_residuals: Floats = field(default_factory=lambda: np.empty(0))
    held_out_reconstruction_errors: Floats = field(default_factory=lambda: np.empty(0))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the npz without pickle. Raises BundleError where an array is missing, misshapen or not finite."""
        names = [one.name for one in fields(cls)]
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in names if name in archive or name not in _OPTIONAL}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path.name} cannot be read or lacks an array: {error}") from error
        arrays = {
            name: array if array.dtype.kind == "U" else array.astype(np.float64) for name, array in arrays.items()
        }
        space = cls(**arrays)
        space._check(path.name)
        return space

    def save(self, path: Path) -> None:
        """Write the npz: float32 but for the small calibration arrays, so that files stay small."""
        wide = {
            "residuals", "corrected_residuals", "sdmt_residuals", "age_bias", "held_out_distances",
            "held_out_reconstruction_errors", "ages",
        }  # fmt: skip
        arrays = {one.name: getattr(self, one.name) for one in fields(self)}
        kept = {n: a if n in wide or a.dtype.kind == "U" else a.astype(np.float32) for n, a in arrays.items()}
        np.savez_compressed(path, **kept)

    @property
    def dimension(self) -> int:
        """Of the latent."""
        return len(self.distance_mean)

    @property
    def has_sdmt(self) -> bool:
        """There are axes for SDMT."""
        return len(self.pls_sdmt_axes) > 0

    def holds(self, pca: tuple[float, float], pls_age: tuple[float, float]) -> bool:
        """Tell whether a scan with these map coordinates is one that the model learned from.

        Its four coordinates come out the same to 1e-6 of the cohort's spread wherever they are computed; two different
        scans have lain 0.1 apart at the least. Always False for a bundle that keeps its coordinates private.
        """
        if len(self.cohort_pca) != len(self.cohort_pls_age) or len(self.cohort_pca) < FEWEST_IN_COHORT:
            return False
        cohort = np.hstack([self.cohort_pca, self.cohort_pls_age])
        spread = cohort.std(axis=0)
        if not spread.all():
            return False
        apart = np.linalg.norm((cohort - np.array([*pca, *pls_age])) / spread, axis=1)
        return bool(apart.min() < SAME_SCAN)

    @property
    def age_range_years(self) -> tuple[float, float]:
        """Youngest and oldest training subject."""
        return float(self.ages.min()), float(self.ages.max())

    def pca(self, latents: Latents) -> Floats:
        """Return coordinates (N, 2) on the two principal axes of the training latents."""
        return (latents - self.pca_mean) @ self.pca_axes.T

    def pls_age(self, latents: Latents) -> Floats:
        """Return coordinates (N, 2) on the two partial-least-squares axes for age."""
        return (latents - self.pls_age_mean) @ self.pls_age_axes.T

    def pls_sdmt(self, latents: Latents) -> Floats:
        """Return coordinates (N, 2) on the two partial-least-squares axes for SDMT."""
        return (latents - self.pls_sdmt_mean) @ self.pls_sdmt_axes.T

    def distance(self, latents: Latents) -> Floats:
        """Return Mahalanobis distance (N,) from the training cohort."""
        offset = latents - self.distance_mean
        along = offset @ self.distance_axes.T
        across = np.maximum((offset**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        squared = (along**2 / self.distance_variances).sum(axis=1) + across / self.distance_floor
        return np.asarray(np.sqrt(squared), dtype=np.float64)

    def percentile(self, distance: float) -> float:
        """Return share of held-out training subjects, in percent, that lie nearer than ``distance``."""
        return float(100.0 * np.mean(self.held_out_distances < distance))

    def reconstruction_percentile(self, error: float) -> float:
        """Return share of held-out training subjects, in percent, whom the decoder shows better than with ``error``."""
        return float(100.0 * np.mean(self.held_out_reconstruction_errors < error))

    def half_width(self, level: float) -> float:
        """Return half width in years of the split-conformal interval around an estimate (Lei et al., JASA 2018)."""
        return conformal_quantile(self.residuals, level)

    def corrected_half_width(self, level: float) -> float:
        """Return the same around a bias-corrected gap."""
        return conformal_quantile(self.corrected_residuals, level)

    def sdmt_half_width(self, level: float) -> float:
        """Return half width in points around an SDMT estimate; infinite where the level asks for more subjects."""
        return conformal_quantile(self.sdmt_residuals, level)

    def corrected_gap(self, gap_years: float, age_years: float) -> float:
        """Return the gap without what age alone explains of it (Le et al., Front Aging Neurosci 2018)."""
        return float(gap_years - self.age_bias[0] - self.age_bias[1] * age_years)

    def _check(self, name: str) -> None:
        d, n, k = self.dimension, len(self.ages), len(self.distance_variances)
        sdmt_axes = 2 if self.has_sdmt else 0
        expected: dict[str, tuple[int, ...]] = {
            "pca_mean": (d,), "pca_axes": (2, d), "pls_age_mean": (d,), "pls_age_axes": (2, d),
            "pls_sdmt_mean": (d,), "pls_sdmt_axes": (sdmt_axes, d), "distance_mean": (d,), "distance_axes": (k, d),
            "distance_floor": (), "held_out_distances": (n,), "residuals": (n,), "corrected_residuals": (n,),
            "age_bias": (2,), "sdmt_residuals": self.sdmt_residuals.shape[:1],
            "held_out_reconstruction_errors": (n if len(self.held_out_reconstruction_errors) else 0,),
        }  # fmt: skip
        for array_name, shape in expected.items():
            array = getattr(self, array_name)
            if array.shape != shape or not np.isfinite(array).all():
                raise BundleError(f"{name}: {array_name} must be finite with shape {shape}, not {array.shape}")
        if (k and self.distance_variances.min() <= 0) or self.distance_floor <= 0:
            raise BundleError(f"{name}: variances must be positive")


def conformal_quantile(residuals: Floats, level: float) -> float:
    """Return the ceil((n + 1) level)-th smallest absolute residual: infinite where n is too small for the level."""
    rank = math.ceil((len(residuals) + 1) * level)
    if rank > len(residuals):
        return math.inf
    return float(np.sort(np.abs(residuals))[rank - 1])
