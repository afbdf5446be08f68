"""What is measured on every head before anybody believes a number from it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.alignment.registration import Alignment
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.connected_parts import Mask
from med3d_pipeline.preprocessing.even_sampling import Box
from med3d_pipeline.preprocessing.measures.brain_edge import find_zeros_beside_brain
from med3d_pipeline.preprocessing.measures.contrast import TemplateTissues, measure_contrast
from med3d_pipeline.preprocessing.measures.ghosting import measure_ghost
from med3d_pipeline.preprocessing.resampling import coarsening_factors, sample_linear
from med3d_pipeline.volume import Volume, Voxels

Flags = npt.NDArray[np.bool_]

EDGE_MM = 2.0
COMPARISON_GRID_MM = 3.0
TRIM = 0.9
AS_FINE = 0.01  # axes whose voxels differ by less than this share are equally fine: headers round
BRIGHTEST_PERCENTILE, AS_BRIGHT = 99.9, 0.995
AS_DARK = 0.001  # of the brain's median
LEAST_COMPARED = 100  # voxels of a slice
DEEP_MM = 6.0  # an extracted brain's mask reaches into the zeros around it
SIGMA_PER_TRIMMED_MEAN = 1.5212
"""Standard deviation of a normal distribution over the mean of the smallest 90 % of its absolute values."""


@dataclass(frozen=True, eq=False)
class QualityEvidence:
    """A preprocessed head as the measures see it.

    native: the image, axes closest to RAS. mask: its brain, (X, Y, Z) uint8. share: the brain on the working grid.
    tensor: the brain on the template, (X, Y, Z) float32; tissues: what lies where on the tensor's grid.
    """

    native: Volume
    mask: Mask
    share: Volume
    alignment: Alignment
    template: Template
    tensor: Voxels
    tissues: TemplateTissues


def measure_quality(evidence: QualityEvidence) -> dict[str, float]:
    """Measure by name.

    brain_volume_ml: volume of the brain mask.
    template_overlap: Dice coefficient of the aligned brain mask and the template's.
    registration_similarity: correlation of the aligned brain with the template's.
    affine_determinant: template volume over native volume; affine_anisotropy: largest stretch over smallest.
    template_outside_view: share of the template's brain that lies outside the image.
    brain_at_edge_cm2: area of the brain mask on the image's outermost voxels, and beside what was set to 0; of a brain
    that was extracted the area of its flat ends alone.
    brain_at_removed_face_cm2: the same before and below the middle of the brain, where a face was removed.
    signal_to_noise: median brightness of the brain over the noise; contrast_to_noise: the same with the distance
    between the quartiles, which lie in grey and in white matter.
    clipped_bright_share: share of the brain as bright as its brightest thousandth; clipped_dark_share: share of the
    brain well inside its surface without any brightness. Both are where a display window was applied to the voxels.
    repeated_slices_mm: how thick the slices are together, of all three directions, that hold the brain as the slice
    before them does, voxel for voxel: written twice, or made by an interpolation that adds nothing.
    ghost_share: brightness of a copy of the brain in the air, as a share of its own (``measure_ghost``).
    white_over_grey and tissue_correlation: see ``measure_contrast``.
    """
    linear = np.linalg.inv(evidence.alignment.template_to_native)[:3, :3]
    stretch = np.linalg.svd(linear, compute_uv=False)
    voxel_mm3 = abs(np.linalg.det(evidence.native.affine[:3, :3]))
    signal = contrast = bright = dark = repeated_mm = math.nan
    mask = evidence.mask.view(np.bool_)
    if mask.any():
        box = _box_around(mask)
        near = (evidence.native.voxels[box], mask[box], evidence.native.spacing_mm)
        (signal, contrast), (bright, dark) = _over_noise(*near), _clipped(*near)
        repeated_mm = _repeated_mm(*near)
    overlap, outside = _against_template(evidence)
    zeros = find_zeros_beside_brain(evidence.native, evidence.mask)
    at_border_cm2 = 0.0 if zeros.to_border else _area_at_edge_cm2(evidence.native, evidence.mask)
    return {
        "brain_volume_ml": float(np.count_nonzero(evidence.mask) * voxel_mm3 / 1000),
        "template_overlap": overlap,
        "registration_similarity": evidence.alignment.similarity,
        "affine_determinant": float(np.linalg.det(linear)),
        "affine_anisotropy": float(stretch[0] / stretch[-1]),
        "template_outside_view": outside,
        "brain_at_edge_cm2": at_border_cm2 + zeros.elsewhere_cm2,
        "brain_at_removed_face_cm2": zeros.at_face_cm2,
        "signal_to_noise": signal,
        "contrast_to_noise": contrast,
        "clipped_bright_share": bright,
        "clipped_dark_share": dark,
        "repeated_slices_mm": repeated_mm,
        "ghost_share": measure_ghost(evidence.native, evidence.mask),
        **measure_contrast(evidence.tensor, evidence.tissues),
    }


def _against_template(evidence: QualityEvidence) -> tuple[float, float]:
    fixed = evidence.template.mask_on(COMPARISON_GRID_MM)
    onto = (fixed.shape, fixed.affine, evidence.alignment.template_to_native)
    moved = sample_linear(evidence.share, *onto) > 0.5
    brain = fixed.voxels > 0.5
    brain_voxels, both = int(brain.sum()), int((moved & brain).sum())
    to_native = np.linalg.inv(evidence.native.affine) @ evidence.alignment.template_to_native @ fixed.affine
    places = np.argwhere(brain) @ to_native[:3, :3].T + to_native[:3, 3]
    unseen = np.any((places < -0.5) | (places >= np.array(evidence.native.shape) - 0.5), axis=1)
    return 2 * both / (int(moved.sum()) + brain_voxels), float(unseen.mean())


def _area_at_edge_cm2(native: Volume, mask: Mask) -> float:
    """Measure the brain's area within one voxel of a grid of EDGE_MM of the image's six sides.

    Not on the outermost voxels alone: the working grid leaves out what fills no whole voxel of it, and so does the mask
    that was found on it.
    """
    area = 0.0
    sides = zip(coarsening_factors(native, EDGE_MM), native.face_areas_cm2, strict=True)
    for axis, (deep, face_cm2) in enumerate(sides):
        along = np.moveaxis(mask, axis, 0)
        area += face_cm2 * sum(np.count_nonzero(end.any(axis=0)) for end in (along[:deep], along[-deep:]))
    return float(area)


def _over_noise(voxels: Voxels, brain: Flags, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Signal and contrast over noise; infinite without noise.

    The noise is the spread of second differences along the finest axes inside the brain (after J. Immerkaer, "Fast
    noise variance estimation", Computer Vision and Image Understanding 64 (1996) 300-302): background may have been
    set to zero, and second differences cancel what changes slowly. Their largest tenth, edges, is left out; the mean
    of the others, unlike their median, does not fall to zero where an image has few grey levels.
    """
    low, middle, high = (float(quartile) for quartile in np.percentile(voxels[brain].astype(np.float64), [25, 50, 75]))
    noise = _noise(voxels, brain, spacing_mm)
    if noise == 0:
        return (math.inf if middle > 0 else 0.0), (math.inf if high > low else 0.0)
    return middle / noise, (high - low) / noise


def _clipped(voxels: Voxels, brain: Flags, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Measure the shares of the brain at the upper and lower end of brightness.

    A scan reaches its brightest value in single voxels, and black nowhere deep inside the brain.
    """
    inside = voxels[brain]
    last = round((1 - BRIGHTEST_PERCENTILE / 100) * (inside.size - 1)) + 1
    brightest, median = np.partition(inside, (inside.size // 2, inside.size - last))[[-last, inside.size // 2]]
    bright = np.count_nonzero(inside >= AS_BRIGHT * brightest) / inside.size
    deep = voxels[_deep(brain, spacing_mm)]
    dark = np.count_nonzero(deep <= AS_DARK * median) / deep.size if deep.size else 0.0
    return bright, dark


def _repeated_mm(voxels: Voxels, brain: Flags, spacing_mm: tuple[float, float, float]) -> float:
    """Measure how thick the slices are together whose brain is that of the slice before; no noise is the same twice."""
    found = 0.0
    for axis, spacing in enumerate(spacing_mm):
        slices, masks = np.moveaxis(voxels, axis, 0), np.moveaxis(brain, axis, 0)
        for before, here, inside in zip(slices, slices[1:], masks[1:], strict=False):
            if np.count_nonzero(inside) >= LEAST_COMPARED and np.array_equal(before[inside], here[inside]):
                found += spacing
    return found


def _deep(brain: Flags, spacing_mm: tuple[float, float, float]) -> Flags:
    """Return voxels with brain DEEP_MM before and behind them along each axis: cheaper than an erosion, and enough."""
    deep = brain.copy()
    for axis, spacing in enumerate(spacing_mm):
        steps = math.ceil(DEEP_MM / spacing)
        along, whole = np.moveaxis(deep, axis, 0), np.moveaxis(brain, axis, 0)
        along[:steps] = along[-steps:] = False
        along[steps:-steps] &= whole[: -2 * steps] & whole[2 * steps :]
    return deep


def _noise(voxels: Voxels, brain: Flags, spacing_mm: tuple[float, float, float]) -> float:
    """Measure the noise along the finest axis; where several are as fine, their mean, so that none is preferred."""
    finest = min(spacing_mm) * (1 + AS_FINE)
    found = [_noise_along(axis, voxels, brain) for axis, spacing in enumerate(spacing_mm) if spacing <= finest]
    return float(np.mean(found))


def _box_around(brain: Flags) -> Box:
    """Return the box, in voxels, around a brain that has some: what lies outside it takes time and tells nothing."""
    held = [np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    x, y, z = (slice(int(places[0]), int(places[-1]) + 1) for places in held)
    return (x, y, z)


def _noise_along(axis: int, voxels: Voxels, brain: Flags) -> float:
    # Slices of the array as it lies in memory: with the axis moved to the front this takes three times as long.
    ends = (slice(None, -2), slice(1, -1), slice(2, None))
    places = [tuple(end if a == axis else slice(None) for a in range(3)) for end in ends]
    whole = brain[places[0]] & brain[places[1]] & brain[places[2]]
    before, here, after = (voxels[place] for place in places)
    differences = 2 * here
    np.subtract(before, differences, out=differences)
    differences += after
    second = np.abs(differences[whole])
    if second.size == 0:
        return 0.0
    kept = max(1, round(TRIM * second.size))
    return float(SIGMA_PER_TRIMMED_MEAN * np.partition(second, kept - 1)[:kept].mean(dtype=np.float64) / math.sqrt(6))
