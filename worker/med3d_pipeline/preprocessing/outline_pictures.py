"""Slices through the brain with its outline: what a person needs to see whether the brain was found."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InferenceError
from med3d_pipeline.preprocessing.cropping import box_around, crop
from med3d_pipeline.volume import Volume

Plane = Literal["axial", "coronal", "sagittal"]
Grey = npt.NDArray[np.uint8]

OUTLINE = 255
"""The value of the outline; the image itself has 0 to 254."""
PIXEL_MM = 0.75
MARGIN_MM = 10.0  # enough to see what was left out, too little for a face
WINDOW_PERCENT = (1.0, 99.5)

# The axis that is cut, of axes closest to RAS.
_CUTS: tuple[tuple[Plane, int], ...] = (("axial", 2), ("coronal", 1), ("sagittal", 0))


@dataclass(frozen=True, eq=False)
class OutlinePicture:
    """``pixels``: (rows, columns) uint8, square pixels of ``pixel_mm``, the outline as OUTLINE."""

    plane: Plane
    pixels: Grey
    pixel_mm: float = PIXEL_MM


def outline_pictures(head: Volume, brain_mask: npt.NDArray[np.uint8], slices: int = 1) -> tuple[OutlinePicture, ...]:
    """Cut ``head`` (axes closest to RAS) where ``brain_mask`` (X, Y, Z) has its centre, in three planes.

    slices: so many in each plane, plane by plane, at equal distances through the brain. Raises InferenceError where
    the mask does not fit the head or is empty.
    """
    if brain_mask.shape != head.shape or not brain_mask.any():
        raise InferenceError("the brain mask does not belong to the head")
    box = box_around(brain_mask > 0, head.spacing_mm, MARGIN_MM, (1, 1, 1))
    near, mask = crop(head, box), brain_mask[box].astype(np.float32)
    measured = np.isfinite(near.voxels)
    lowest, highest = np.percentile(near.voxels[measured], WINDOW_PERCENT)
    scaled = np.clip((near.voxels - lowest) / max(float(highest - lowest), 1e-6), 0, 1)
    scaled[~measured] = 0
    pictures = []
    for plane, axis in _CUTS:
        spacing = tuple(mm for other, mm in enumerate(near.spacing_mm) if other != axis)
        for at in _places(_profile(mask, axis), slices):
            grey = _square(radiological(scaled, axis, at), spacing[::-1])
            inside = _square(radiological(mask, axis, at), spacing[::-1]) > 0.5
            pixels = np.round(grey * (OUTLINE - 1)).astype(np.uint8)
            pixels[outline_of(inside)] = OUTLINE
            pictures.append(OutlinePicture(plane, pixels))
    return tuple(pictures)


def _places(profile: npt.NDArray[np.float64], slices: int) -> list[int]:
    """Tell where to cut: the centre alone, or at equal distances between the ends, which show nothing."""
    if slices == 1:
        return [round(float(np.average(np.arange(len(profile)), weights=profile)))]
    held = np.flatnonzero(profile)
    first, last = int(held[0]), int(held[-1])
    return [round(first + (last - first) * (number + 1) / (slices + 1)) for number in range(slices)]


def radiological(voxels: npt.NDArray[np.float32], axis: int, at: int) -> npt.NDArray[np.float32]:
    """Cut across ``axis`` and turn the two other RAS axes into rows and columns.

    The front or the top of the head comes to the top, the patient's right to the left, a sagittal slice's face too.
    """
    cut: npt.NDArray[np.float32] = np.moveaxis(voxels, axis, 0)[at]
    return cut[::-1, ::-1].T


def _profile(mask: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float64]:
    """Tell how much of the brain each slice across ``axis`` holds."""
    others = tuple(other for other in range(3) if other != axis)
    return np.asarray(mask.sum(axis=others), dtype=np.float64)


def _square(cut: npt.NDArray[np.float32], spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """Resample (rows, columns) linearly to pixels of PIXEL_MM, one axis after the other."""
    for axis, mm in enumerate(spacing_mm):
        size = cut.shape[axis]
        at = np.clip((np.arange(max(1, round(size * mm / PIXEL_MM))) + 0.5) * PIXEL_MM / mm - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, size - 1)
        weight = (at - low).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        cut = cut.take(low, axis) * (1 - weight) + cut.take(high, axis) * weight
    return cut


def outline_of(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Find the pixels inside that touch one outside."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: npt.NDArray[np.bool_] = inside & ~core
    return edge
