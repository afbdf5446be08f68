"""Affine alignment of a brain to the template's.

Efficient second-order minimisation (S. Benhimane, E. Malis, "Real-time image-based tracking of planes using efficient
second-order minimization", IROS 2004): Gauss-Newton steps whose gradient is the mean of both images'. Both are brains
in T1 contrast, so after the best gain and offset their squared difference is the measure, which is to say their
correlation. No voxel is drawn at random and sums keep their order: equal input gives equal output.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.itk_images import image_of, to_array, to_image, to_transform
from med3d_pipeline.preprocessing.resampling import coarsen
from med3d_pipeline.preprocessing.spec import RegistrationLevel, RegistrationSpec
from med3d_pipeline.preprocessing.template import Template
from med3d_pipeline.volume import Affine, Volume

Array = npt.NDArray[np.float64]

# Positions are in units of this, so that turning, stretching and moving weigh alike in the equations.
UNIT_MM = 100.0
SMALLEST_STEP_MM = 0.02
MARGIN_MM = 12.0
# On the coarsest level: brains that were turned back have 0.92 or more, a fruit 0.87.
LEAST_LIKENESS = 0.90
# None, and about the axis to the right, to the front and to the top.
HALF_TURNS = tuple(np.diag([*signs, 1.0]) for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)))


@dataclass(frozen=True)
class Alignment:
    """template_to_native: (4, 4) float64 map of RAS+ mm. similarity: correlation with the template, 1 = equal."""

    template_to_native: Affine
    similarity: float


@dataclass(frozen=True)
class _Level:
    """The template on one grid: values and gradient (per UNIT_MM) at positions (in UNIT_MM, from the centre)."""

    spec: RegistrationLevel
    grid: Volume
    values: Array
    gradient: Array
    monomials: Array
    degrees: Array


class AffineRegistration:
    """Aligns brains to one template; what is known of the template is worked out once."""

    def __init__(self, template: Template, spec: RegistrationSpec) -> None:
        self._spec = spec
        self._centre = centre_of_mass(template.brain)
        self._volume = float((template.mask.voxels > 0.5).sum() * abs(np.linalg.det(template.mask.affine[:3, :3])))
        self._levels = tuple(self._level(template.brain, level) for level in spec.levels)

    def __call__(self, brain: Volume) -> Alignment:
        """Align ``brain`` (bias-corrected, zero outside the brain).

        Starts with the centres of mass on each other and the brains equally large. Raises
        InputRefused("registration_failed") when the search does not end in an alignment.
        """
        transform, similarity = self._start(brain), 0.0
        for level in self._levels:
            blurred = blur(brain, level.spec.blur_mm)
            transform, similarity = self._search(level, image_of(blurred), transform)
        if not np.isfinite(transform).all() or np.linalg.det(transform[:3, :3]) <= 0:
            raise registration_failed()
        return Alignment(template_to_native=self._in_mm(transform), similarity=similarity)

    def gain_by_turning(self, brain: Volume) -> float:
        """Measure how much more alike the template ``brain`` becomes when it is turned by half a turn first.

        Compares correlations on the coarsest level: the best of three half turns, less that of the pose in the header.
        Positive where the header says back for front or top for bottom; a mirror image looks as if turned, as a brain's
        halves are alike, and left for right cannot be seen at all. 0 for what is no head in any of these poses.
        """
        level = self._levels[0]
        blurred = image_of(blur(brain, level.spec.blur_mm))
        upright, *turned = (self._search(level, blurred, self._start(brain) @ turn)[1] for turn in HALF_TURNS)
        return max(turned) - upright if max(turned) > LEAST_LIKENESS else 0.0

    def _start(self, brain: Volume) -> Affine:
        """The centres of mass on each other and the brains equally large."""
        volume = float((brain.voxels != 0).sum() * abs(np.linalg.det(brain.affine[:3, :3])))
        transform = np.diag([(volume / self._volume) ** (1 / 3)] * 3 + [1.0])
        transform[:3, 3] = centre_of_mass(brain) / UNIT_MM
        return transform

    def _level(self, brain: Volume, spec: RegistrationLevel) -> _Level:
        grid = blur(coarsen(brain, spec.grid_mm), spec.blur_mm)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")).reshape(3, -1)
        positions = (grid.affine[:3, :3] @ index + (grid.affine[:3, 3] - self._centre)[:, None]) / UNIT_MM
        homogeneous = np.concatenate([positions, np.ones((1, index.shape[1]))])
        rows, columns = np.triu_indices(4)
        return _Level(
            spec=spec,
            grid=grid,
            values=grid.voxels.astype(np.float64).ravel(),
            gradient=_gradient(grid.voxels, spec.grid_mm),
            monomials=homogeneous[rows] * homogeneous[columns],
            degrees=DEGREES_OF_FREEDOM[spec.model],
        )

    def _search(self, level: _Level, moving: sitk.Image, start: Affine) -> tuple[Affine, float]:
        transform = start
        sampled, similarity = self._sample(level, moving, transform)
        for _ in range(level.spec.iterations):
            step = _step(level, sampled)
            for _ in range(4):
                tried = transform @ (np.eye(4) + step)
                found, better = self._sample(level, moving, tried)
                if better > similarity:
                    break
                step = step / 2
            else:
                break
            transform, sampled, similarity = tried, found, better
            if np.abs(step[:3]).sum(axis=1).max() * UNIT_MM < SMALLEST_STEP_MM:
                break
        return transform, similarity

    def _sample(self, level: _Level, moving: sitk.Image, transform: Affine) -> tuple[Volume, float]:
        resampler = sitk.ResampleImageFilter()
        resampler.SetReferenceImage(image_of(level.grid))
        resampler.SetTransform(to_transform(self._in_mm(transform)))
        resampler.SetInterpolator(sitk.sitkLinear)
        sampled = Volume(voxels=to_array(resampler.Execute(moving)), affine=level.grid.affine)
        return sampled, _correlation(sampled.voxels.astype(np.float64).ravel(), level.values)

    def _in_mm(self, transform: Affine) -> Affine:
        to_units = np.diag([1 / UNIT_MM] * 3 + [1.0])
        to_units[:3, 3] = -self._centre / UNIT_MM
        in_mm: Affine = np.diag([UNIT_MM] * 3 + [1.0]) @ transform @ to_units
        return in_mm


def registration_failed() -> InputRefused:
    """What is said when a brain cannot be aligned."""
    return InputRefused(
        "registration_failed",
        "The brain could not be aligned to the template. Send a T1-weighted MRI of one whole head.",
    )


def centre_of_mass(volume: Volume) -> Array:
    """Mean position weighted by brightness, RAS+ mm. Raises InputRefused("registration_failed") for a dark image."""
    weights = np.maximum(volume.voxels, 0.0).astype(np.float64)
    total = weights.sum()
    if not total > 0:
        raise registration_failed()
    sums = [weights.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    centre = np.array([(s * np.arange(s.size)).sum() / total for s in sums])
    position: Array = volume.affine[:3, :3] @ centre + volume.affine[:3, 3]
    return position


def blur(volume: Volume, sigma_mm: float) -> Volume:
    """``volume`` seen through a Gaussian."""
    if sigma_mm == 0:
        return volume
    image = sitk.SmoothingRecursiveGaussian(to_image(volume.voxels, volume.affine), sigma_mm)
    return Volume(voxels=to_array(image), affine=volume.affine)


def _step(level: _Level, sampled: Volume) -> Affine:
    """The Gauss-Newton step as a (4, 4) matrix to be added to the identity."""
    values = sampled.voxels.astype(np.float64).ravel()
    gain, offset = _best_gain(values, level.values)
    residual = gain * values + offset - level.values
    gradient = (gain * _gradient(sampled.voxels, level.spec.grid_mm) + level.gradient) / 2
    # The products of gradients and of positions give all 12 x 12 sums. einsum, as BLAS adds in an order of its own.
    rows, columns = np.triu_indices(3)
    products = np.einsum("in,jn->ij", gradient[rows] * gradient[columns], level.monomials)
    hessian = np.zeros((3, 4, 3, 4))
    position_rows, position_columns = np.triu_indices(4)
    for pair, (g, h) in enumerate(zip(rows, columns, strict=True)):
        for monomial, (p, q) in enumerate(zip(position_rows, position_columns, strict=True)):
            hessian[g, p, h, q] = hessian[g, q, h, p] = products[pair, monomial]
            hessian[h, p, g, q] = hessian[h, q, g, p] = products[pair, monomial]
    homogeneous = level.monomials[[3, 6, 8, 9]]  # the products with the last coordinate, which is 1
    slope = np.einsum("in,jn->ij", gradient * residual, homogeneous)
    free = level.degrees
    reduced = free.T @ hessian.reshape(12, 12) @ free
    damping = 1e-6 * np.trace(reduced) / len(reduced) * np.eye(len(reduced))
    step = np.zeros((4, 4))
    step[:3] = -(free @ np.linalg.solve(reduced + damping, free.T @ slope.ravel())).reshape(3, 4)
    return step


def _gradient(voxels: npt.NDArray[np.float32], grid_mm: float) -> Array:
    """(3, N) central differences along RAS, per UNIT_MM; the grid lies along RAS."""
    return np.stack([g.ravel() for g in np.gradient(voxels.astype(np.float64), grid_mm / UNIT_MM)])


def _best_gain(values: Array, target: Array) -> tuple[float, float]:
    centred = values - values.mean()
    spread = float((centred * centred).mean())
    gain = float((centred * (target - target.mean())).mean()) / spread if spread > 0 else 0.0
    return gain, float(target.mean() - gain * values.mean())


def _correlation(values: Array, target: Array) -> float:
    a, b = values - values.mean(), target - target.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _columns(matrices: Sequence[npt.ArrayLike]) -> Array:
    return np.stack([np.asarray(matrix, dtype=np.float64).ravel() for matrix in matrices], axis=1)


DEGREES_OF_FREEDOM = {
    "similarity": _columns(
        [
            [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]],
            [[0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0]],
            [[0, 0, 1, 0], [0, 0, 0, 0], [-1, 0, 0, 0]],
            [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]],
            [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        ]
    ),
    "affine": np.eye(12),
}
"""(12, degrees) directions in which the first three rows of the matrix, read row by row, may change."""
