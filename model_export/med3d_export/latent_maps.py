"""Two-dimensional maps of the latent and distances in it, as arrays that plain numpy can apply."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LatentMap:
    """Coordinates are (z - mean) axes^T: mean (d,), axes (2, d)."""

    mean: Floats
    axes: Floats

    def __call__(self, latents: npt.NDArray[np.floating]) -> Floats:
        """Return coordinates (N, 2)."""
        return (latents - self.mean) @ self.axes.T


def pca_map(latents: Floats) -> LatentMap:
    """Return the two principal axes; the sign is fixed so that the largest weight is positive."""
    pca = PCA(2, svd_solver="full").fit(latents)
    return LatentMap(pca.mean_, _signed(pca.components_))


def pls_map(latents: Floats, labels: Floats) -> LatentMap:
    """Return the two partial-least-squares axes for ``labels`` (N,) of standardised latents, as PLSRegression does.

    The first coordinate grows with the label.
    """
    pls = PLSRegression(2, scale=True).fit(latents, labels)
    # x_rotations_ apply to standardised latents; dividing by the spread folds the scaling into the axes.
    axes = pls.x_rotations_.T / latents.std(axis=0, ddof=1)
    mean = latents.mean(axis=0)
    first = (latents - mean) @ axes[0]
    axes[0] *= 1.0 if np.corrcoef(first, labels)[0, 1] >= 0 else -1.0
    return LatentMap(mean, axes)


def _signed(axes: Floats) -> Floats:
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    return np.asarray(axes * np.sign(largest)[:, None], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ShrunkCovariance:
    """(1 - s) S + s tr(S)/d I of Ledoit and Wolf (2004) in its eigenbasis.

    mean (d,); axes (k, d) orthonormal, k < N; variances (k,); floor: the variance in every other direction.
    """

    mean: Floats
    axes: Floats
    variances: Floats
    floor: float

    def distance(self, latents: npt.NDArray[np.floating]) -> Floats:
        """Return Mahalanobis distances (N,)."""
        offset = latents - self.mean
        along = offset @ self.axes.T
        across = np.maximum((offset**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        return np.asarray(np.sqrt((along**2 / self.variances).sum(axis=1) + across / self.floor))


def shrunk_covariance(latents: Floats) -> ShrunkCovariance:
    """Fit to latents (N, d)."""
    mean = latents.mean(axis=0)
    offset = latents - mean
    shrinkage = float(ledoit_wolf_shrinkage(offset, assume_centered=True))
    _, singular, axes = np.linalg.svd(offset, full_matrices=False)
    eigenvalues = singular**2 / len(latents)
    floor = shrinkage * eigenvalues.sum() / latents.shape[1]
    # Centring leaves one direction fewer than subjects; its axis would be noise.
    kept = eigenvalues > 1e-10 * eigenvalues[0]
    return ShrunkCovariance(mean, axes[kept], (1.0 - shrinkage) * eigenvalues[kept] + floor, float(floor))
