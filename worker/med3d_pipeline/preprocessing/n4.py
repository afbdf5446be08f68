"""N4 bias field estimation as dense linear algebra on a regular grid of voxels.

N. Tustison et al., "N4ITK: improved N3 bias correction", IEEE Transactions on Medical Imaging 29 (2010) 1310-1320. Each
iteration sharpens the histogram of the logarithms (J. Sled, A. Zijdenbos, A. Evans, "A nonparametric method for
automatic correction of intensity nonuniformity in MRI data", IEEE TMI 17 (1998) 87-97) and fits what that took away by
cubic B-splines (S. Lee, G. Wolberg, S. Shin, "Scattered data interpolation with multilevel B-splines", IEEE
Transactions on Visualization and Computer Graphics 3 (1997) 228-244).

An iteration takes a small step where little is left, and stops long before the shading has gone. So, optionally, each
begins a part of the step before further on (Y. Nesterov, "A method for solving the convex programming problem with
convergence rate O(1/k^2)", Doklady AN SSSR 269 (1983) 543-547).

The fit was made for scattered points. Voxels lie on a grid, so each sum over points is three short products, one along
each axis. Every one is of matrices so small that BLAS takes one thread for it: the bits do not depend on their number.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Positions = tuple[Array, Array, Array]
Domain = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
"""Where splines begin along each axis and how long they are, in voxels of a grid."""

# What the papers leave open, as ITK's filter has it, which the project's tests hold this against.
HISTOGRAM_BINS = 200
PADDED_BINS = 512
FIELD_FWHM = 0.15
WIENER_NOISE = 0.01
SPLINE_ORDER = 3
# The last voxel lies this far, in voxels, inside the last span, which does not hold its own end.
END_INSET = 1e-3
# A control point that all voxels together weigh less than this, in squared weights, says nothing.
LEAST_WEIGHT = 0.1 * float(np.finfo(np.float32).eps)
# Of the largest density: where less than this is left after sharpening there is only rounding to divide by.
LEAST_DENSITY = 1e-12


@dataclass(frozen=True, eq=False)
class SplineField:
    """A smooth field over a grid of voxels: (A, B, C) control points of cubic B-splines, evenly over their domain."""

    control_points: Array
    domain: Domain

    def at(self, positions: Positions) -> Array:
        """Return the field where coordinates along the three axes (in voxels) cross.

        Beyond the domain its edge goes on.
        """
        bases = (
            spline_basis(where, span, points)
            for where, span, points in zip(positions, self.domain, self.control_points.shape, strict=True)
        )
        return expand(self.control_points, *bases)

    def refined(self) -> Self:
        """Return the same field by spans half as long."""
        halves = (halving(points) for points in self.control_points.shape)
        return type(self)(expand(self.control_points, *halves), self.domain)


@dataclass(frozen=True, eq=False)
class SplineFit:
    """Fits one control lattice to values at the voxels of a mask; what the mask and lattice decide is worked out once.

    bases: per axis (voxels, control points), how much each point weighs at each voxel. weights: the squared weights of
    all voxels, by control point.
    """

    mask: BoolArray
    bases: tuple[Array, Array, Array]
    cubes: tuple[Array, Array, Array]
    weights: Array

    @classmethod
    def over(cls, mask: BoolArray, domain: Domain, points: tuple[int, ...]) -> Self:
        """Return a fit of ``points`` control points along each axis of ``domain`` to the voxels of ``mask``."""
        x, y, z = (
            spline_basis(np.arange(size, dtype=np.float64), span, count)
            for size, span, count in zip(mask.shape, domain, points, strict=True)
        )
        bases = (x, y, z)
        weights = contract(mask.astype(np.float64), x**2, y**2, z**2)
        # Each voxel's share of a point is w^3 / sum(w^2) over its own 64 points, and the sum is a product over axes.
        x, y, z = (basis**3 / (basis**2).sum(axis=1, keepdims=True) for basis in bases)
        return cls(mask, bases, (x, y, z), weights)

    def fit(self, values: Array) -> Array:
        """Return control points of the splines near ``values`` (one per voxel of the mask)."""
        whole = np.zeros(self.mask.shape)
        whole[self.mask] = values
        sums = contract(whole, *self.cubes)
        return np.divide(sums, self.weights, out=np.zeros_like(sums), where=self.weights > LEAST_WEIGHT)

    def values(self, control_points: Array) -> Array:
        """Return the field of ``control_points`` at the voxels of the mask."""
        return expand(control_points, *self.bases)[self.mask]


def whole_grid(shape: tuple[int, ...]) -> Domain:
    """Span the grid from the first voxel's centre to the last one's, as ITK's filter has it."""
    x, y, z = ((0.0, float(max(size - 1, 1))) for size in shape)
    return (x, y, z)


@dataclass(frozen=True)
class Climb:
    """How N4 climbs: most iterations on each level of the lattice, the first with four control points along each axis.

    convergence: a level ends early where the field changes by less (coefficient of variation). momentum: share of the
    step before, from 0 (N4 as published) to below 1, that each step begins further on.
    """

    iterations: tuple[int, ...]
    convergence: float
    momentum: float = 0.0


def estimate_log_field(voxels: npt.NDArray[np.float32], mask: BoolArray, domain: Domain, climb: Climb) -> SplineField:
    """Estimate the logarithm of the field that ``voxels`` (X, Y, Z, above 0) are multiplied by, from those in ``mask``.

    Each level's spans are half as long as those of the level before. A mask without contrast gives a field of nought.
    """
    seen = np.log(voxels[mask].astype(np.float64))
    field = SplineField(np.zeros([SPLINE_ORDER + 1] * 3), domain)
    if seen.size < 2 or not seen.max() > seen.min():
        return field
    for level, most in enumerate(climb.iterations):
        if level > 0:
            field = field.refined()
        fit = SplineFit.over(mask, domain, field.control_points.shape)
        field = _improve(field, seen, fit, most, climb)
    return field


def _improve(field: SplineField, seen: Array, fit: SplineFit, most: int, climb: Climb) -> SplineField:
    """Improve ``field`` on its own lattice until it stands still, in at most so many iterations."""
    points_before = points = field.control_points
    values_before = values = fit.values(points)
    for _ in range(most):
        # The field is linear in its points: a step of theirs is the same step of its values.
        corrected = seen - values - climb.momentum * (values - values_before)
        step = climb.momentum * (points - points_before) + fit.fit(corrected - sharpen(corrected))
        points_before, points = points, points + step
        values_before, values = values, fit.values(points)
        change = np.exp(values_before - values)
        if float(change.std(ddof=1) / change.mean()) <= climb.convergence:
            break
    return SplineField(points, field.domain)


def sharpen(values: Array) -> Array:
    """Return what each of ``values`` most likely was before a Gaussian of FIELD_FWHM smeared their histogram.

    The histogram is deconvolved (Wiener); a value becomes the mean of what may have led to it.
    """
    low, high = float(values.min()), float(values.max())
    width = (high - low) / (HISTOGRAM_BINS - 1)
    if not width > 0:
        return values
    place = (values - low) / width
    blur = _blur_spectrum(width)
    padding = (PADDED_BINS - HISTOGRAM_BINS) // 2
    density = np.zeros(PADDED_BINS)
    density[padding : padding + HISTOGRAM_BINS] = _histogram(place)
    sharp = np.maximum(_filtered(density, blur / (blur**2 + WIENER_NOISE)), 0.0)
    centres: Array = low + (np.arange(PADDED_BINS, dtype=np.float64) - padding) * width
    below = _filtered(sharp, blur)
    likely = np.divide(
        _filtered(centres * sharp, blur), below, out=centres.copy(), where=below > LEAST_DENSITY * below.max()
    )
    return _between_bins(place, likely[padding : padding + HISTOGRAM_BINS])


def _between_bins(place: Array, told: Array) -> Array:
    """Return what ``told`` says of the bins, linearly in between: numpy's interp without its search for bins."""
    before = np.minimum(place.astype(np.intp), HISTOGRAM_BINS - 2)
    found: Array = np.diff(told)[before] * (place - before) + told[before]
    found[place >= HISTOGRAM_BINS - 1] = told[-1]
    return found


def _histogram(place: Array) -> Array:
    """Tell how many values lie in each bin; a value between two bins counts in both, the more the nearer."""
    before = np.minimum(place.astype(np.intp), HISTOGRAM_BINS - 2)
    share = place - before
    counts = np.bincount(before, 1.0 - share, HISTOGRAM_BINS) + np.bincount(before + 1, share, HISTOGRAM_BINS)
    return np.asarray(counts, dtype=np.float64)


def _blur_spectrum(bin_width: float) -> Array:
    """Return the spectrum of the Gaussian that the field smears the histogram with.

    Real, because the Gaussian is even.
    """
    fwhm = FIELD_FWHM / bin_width
    bins = np.arange(PADDED_BINS)
    distance = np.minimum(bins, PADDED_BINS - bins)
    gaussian = 2.0 * np.sqrt(np.log(2.0) / np.pi) / fwhm * np.exp(-4.0 * np.log(2.0) * (distance / fwhm) ** 2)
    return np.asarray(np.fft.rfft(gaussian).real, dtype=np.float64)


def _filtered(signal: Array, spectrum: Array) -> Array:
    return np.asarray(np.fft.irfft(np.fft.rfft(signal) * spectrum, PADDED_BINS), dtype=np.float64)


def spline_basis(positions: Array, span: tuple[float, float], points: int) -> Array:
    """Return (positions, ``points``) weights of cubic B-spline control points at positions in voxels.

    The domain begins at ``span[0]``, is ``span[1]`` long and has ``points`` - 3 spans.
    """
    spans, (start, length) = points - SPLINE_ORDER, span
    inside = np.clip(positions - start, 0.0, length - END_INSET)
    distance = np.abs(inside[:, None] * (spans / length) - np.arange(points) + 1.0)
    near = (4.0 - 6.0 * distance**2 + 3.0 * distance**3) / 6.0
    far = np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return np.where(distance < 1.0, near, far)


def halving(points: int) -> Array:
    """Return (2 ``points`` - 3, ``points``) weights of old control points in those of spans half as long."""
    weights = np.zeros((2 * points - SPLINE_ORDER, points))
    for new in range(len(weights)):
        first, between = divmod(new, 2)
        told = (1 / 8, 6 / 8, 1 / 8) if between else (1 / 2, 1 / 2)
        weights[new, first : first + len(told)] = told
    return weights


def contract(grid: Array, x: Array, y: Array, z: Array) -> Array:
    """Return the sums over the voxels of ``grid`` (X, Y, Z) weighted by (X, A), (Y, B) and (Z, C), as (A, B, C)."""
    along_z = grid @ z
    along_y = y.T @ along_z
    return np.asarray(np.einsum("ibc,ia->abc", along_y, x), dtype=np.float64)


def expand(points: Array, x: Array, y: Array, z: Array) -> Array:
    """Return the field of control ``points`` (A, B, C) weighted by (X, A), (Y, B) and (Z, C), as (X, Y, Z)."""
    along_x = np.einsum("abc,ia->ibc", points, x)
    return np.asarray(y @ along_x @ z.T, dtype=np.float64)
