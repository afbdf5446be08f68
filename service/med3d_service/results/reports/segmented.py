"""Where the brain was found, on the original images: the worker's mask under the images' own UIDs."""

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from med3d_contract.pictures import BrainMask

MOST_BYTES = 64 * 1024 * 1024
"""Of a mask, one bit a voxel: more voxels than a volume may have that is read."""


@dataclass(frozen=True, eq=False)
class SegmentedBrain:
    """A mask and the images that it lies on.

    voxels: (slices, rows, columns) uint8, 0 or 1. affine: (4, 4) float64, (column, row, slice) to LPS mm, as in DICOM.
    instance_uids, frame_numbers: of the slices in their order; frames count from 1.
    """

    voxels: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    instance_uids: tuple[str, ...] = field(repr=False)
    frame_numbers: tuple[int, ...]
    frame_of_reference_uid: str = field(repr=False)


def segmented_brain(mask: BrainMask | None, originals: Mapping[str, str]) -> SegmentedBrain | None:
    """Translate the stand-ins back. None where no mask was left, or two of its slices are one image."""
    if mask is None or mask.frame_of_reference_uid not in originals or not set(mask.slice_uids) <= originals.keys():
        return None
    columns, rows, slices = mask.shape
    voxels = _unpacked(mask.packed_base64, columns * rows * slices)
    frames = mask.slice_frames or (1,) * slices
    if voxels is None or len(set(zip(mask.slice_uids, frames, strict=False))) != slices or not voxels.any():
        return None
    return SegmentedBrain(
        voxels=voxels.reshape(slices, rows, columns),
        affine=np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(mask.affine),
        instance_uids=tuple(originals[uid] for uid in mask.slice_uids),
        frame_numbers=frames,
        frame_of_reference_uid=originals[mask.frame_of_reference_uid],
    )


def _unpacked(packed: str, voxels: int) -> npt.NDArray[np.uint8] | None:
    size_bytes = -(-voxels // 8)
    if size_bytes > MOST_BYTES:
        return None
    try:
        bits = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size_bytes + 1)
    except (binascii.Error, zlib.error):
        return None
    if len(bits) != size_bytes:
        return None
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=voxels)
