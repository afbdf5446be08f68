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
from med3d_pipeline.preprocessing.alignment.newton_equations import FixedImage, Likeness, compare, newton_equations
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.itk_images import image_of, to_array, to_transform
from med3d_pipeline.preprocessing.resampling import coarsen
from med3d_pipeline.preprocessing.spec import RegistrationLevel, RegistrationSpec
from med3d_pipeline.volume import Affine, Volume

Array = npt.NDArray[np.float64]

# Positions are in units of this, so that turning, stretching and moving weigh alike in the equations.
UNIT_MM = 100.0
SMALLEST_STEP_MM = 0.02
MARGIN_MM = 12.0
# On the coarsest level: brains that were turned back have 0.92 or more, a fruit 0.87.
LEAST_LIKENESS = 0.90
# Of a head as its header has it, in radians: scanners take nobody who holds the head so. Beyond it both ways are tried.
LARGEST_TURN = np.pi / 4
# None, and about the axis to the right, to the front and to the top.
HALF_TURNS = tuple(np.diag([*signs, 1.0]) for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)))


@dataclass(frozen=True)
class Alignment:
    """template_to_native: (4, 4) float64 map of RAS+ mm. similarity: correlation with the template, 1 = equal."""

    template_to_native: Affine
    similarity: float


@dataclass(frozen=True)
class _Level:
    """The template on one grid: its geometry as ITK takes it, and its brightness for the equations, in UNIT_MM."""

    spec: RegistrationLevel
    grid: sitk.Image
    fixed: FixedImage
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
        start, similarity = self._start(brain), 0.0
        ways, image = [start], image_of(brain)
        for level in self._levels:
            blurred = _blurred(image, level.spec.blur_mm)
            found = [self._search(level, blurred, way) for way in ways]
            transform, similarity = max(found, key=lambda one: one[1])
            # A head that is long across and tilted may turn all the way where it cannot stretch yet.
            ways = [transform, start] if level is self._levels[0] and _turn(transform) > LARGEST_TURN else [transform]
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
        blurred = _blurred(image_of(brain), level.spec.blur_mm)
        upright, *turned = (self._search(level, blurred, self._start(brain) @ turn)[1] for turn in HALF_TURNS)
        return max(turned) - upright if max(turned) > LEAST_LIKENESS else 0.0

    def _start(self, brain: Volume) -> Affine:
        """Lay the centres of mass on each other and make the brains equally large."""
        volume = float(np.count_nonzero(brain.voxels) * abs(np.linalg.det(brain.affine[:3, :3])))
        transform = np.diag([(volume / self._volume) ** (1 / 3)] * 3 + [1.0])
        transform[:3, 3] = centre_of_mass(brain) / UNIT_MM
        return transform

    def _level(self, brain: Volume, spec: RegistrationLevel) -> _Level:
        coarse = coarsen(brain, spec.grid_mm)
        grid = _blurred(image_of(coarse), spec.blur_mm)
        steps, start = np.diag(coarse.affine)[:3], coarse.affine[:3, 3] - self._centre
        x, y, z = ((steps[axis] * np.arange(n) + start[axis]) / UNIT_MM for axis, n in enumerate(coarse.shape))
        fixed = FixedImage.of(to_array(grid).astype(np.float64), (x, y, z), spec.grid_mm / UNIT_MM)
        return _Level(spec=spec, grid=grid, fixed=fixed, degrees=DEGREES_OF_FREEDOM[spec.model])

    def _search(self, level: _Level, moving: sitk.Image, start: Affine) -> tuple[Affine, float]:
        transform = start
        likeness = self._compare(level, moving, transform)
        for _ in range(level.spec.iterations):
            step = _step(level, likeness)
            for _ in range(4):
                tried = transform @ (np.eye(4) + step)
                found = self._compare(level, moving, tried)
                if found.correlation > likeness.correlation:
                    break
                step = step / 2
            else:
                break
            transform, likeness = tried, found
            if np.abs(step[:3]).sum(axis=1).max() * UNIT_MM < SMALLEST_STEP_MM:
                break
        return transform, likeness.correlation

    def _compare(self, level: _Level, moving: sitk.Image, transform: Affine) -> Likeness:
        resampler = sitk.ResampleImageFilter()
        resampler.SetReferenceImage(level.grid)
        resampler.SetTransform(to_transform(self._in_mm(transform)))
        resampler.SetInterpolator(sitk.sitkLinear)
        return compare(to_array(resampler.Execute(moving)).astype(np.float64), level.fixed)

    def _in_mm(self, transform: Affine) -> Affine:
        to_units = np.diag([1 / UNIT_MM] * 3 + [1.0])
        to_units[:3, 3] = -self._centre / UNIT_MM
        in_mm: Affine = np.diag([UNIT_MM] * 3 + [1.0]) @ transform @ to_units
        return in_mm


def registration_failed() -> InputRefused:
    """Return what is said when a brain cannot be aligned."""
    return InputRefused(
        "registration_failed",
        "The brain could not be aligned to the template. Send a T1-weighted MRI of one whole head.",
    )


def centre_of_mass(volume: Volume) -> Array:
    """Return mean position weighted by brightness, RAS+ mm.

    Raises InputRefused("registration_failed") for a dark image.
    """
    weights = np.maximum(volume.voxels, 0.0).astype(np.float64)
    total = weights.sum()
    if not total > 0:
        raise registration_failed()
    sums = [weights.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    centre = np.array([(s * np.arange(s.size)).sum() / total for s in sums])
    position: Array = volume.affine[:3, :3] @ centre + volume.affine[:3, 3]
    return position


def _turn(transform: Affine) -> float:
    """Return the angle in radians of the rotation that is nearest to a (4, 4) map."""
    left, _, right = np.linalg.svd(transform[:3, :3])
    return float(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1)))


def _blurred(image: sitk.Image, sigma_mm: float) -> sitk.Image:
    return sitk.SmoothingRecursiveGaussian(image, sigma_mm) if sigma_mm else image


def _step(level: _Level, likeness: Likeness) -> Affine:
    """Return the Gauss-Newton step as a (4, 4) matrix to be added to the identity."""
    hessian, slope = newton_equations(likeness, level.fixed)
    free = level.degrees
    reduced = free.T @ hessian @ free
    damping = 1e-6 * np.trace(reduced) / len(reduced) * np.eye(len(reduced))
    step = np.zeros((4, 4))
    step[:3] = -(free @ np.linalg.solve(reduced + damping, free.T @ slope)).reshape(3, 4)
    return step


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
