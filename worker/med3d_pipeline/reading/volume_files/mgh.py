"""FreeSurfer's volumes (.mgh, and .mgz gzipped): told by their first bytes, and where their header places them."""

import struct
from typing import Any

import nibabel as nib
import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.volume_files.nifti_forms import refuse_deformed
from med3d_pipeline.volume import Affine

_START = struct.Struct(">6i")  # version, width, height, depth, frames, type
_DIRECTIONS_VALID = struct.Struct(">h")  # behind the degrees of freedom
_BYTES = nib.MGHImage.header_class.template_dtype.itemsize
_MAX_SIDE = 4096
_TYPES = frozenset({0, 1, 3, 4})  # uint8, int32, float32, int16


def looks_like_mgh(head: bytes) -> bool:
    """Tell whether ``head`` begins an MGH volume: version 1, plausible sizes and a known type of voxels."""
    if len(head) < _BYTES:
        return False
    version, *sizes, kind = _START.unpack_from(head)
    return version == 1 and all(0 < size <= _MAX_SIDE for size in sizes) and kind in _TYPES


def mgh_header(head: bytes) -> Any:
    """Make nibabel's header of the first bytes, with the flag that it corrects: whether the directions are valid."""
    header = nib.MGHImage.header_class(head[:_BYTES].ljust(_BYTES, b"\0"), check=False)
    (header["goodRASFlag"],) = _DIRECTIONS_VALID.unpack_from(head, _START.size + 4)
    return header


def mgh_affine(header: Any) -> Affine:
    """Return voxel indices to RAS+ mm, as (4, 4) float64.

    Raises InputRefused with nifti_no_affine (the header says that its directions are not valid), invalid_geometry.
    """
    if int(header["goodRASFlag"]) <= 0:
        raise InputRefused(
            "nifti_no_affine",
            "The header says that its directions are not valid, so left and right are unknown. "
            "Convert the scan from DICOM again.",
        )
    affine: Affine = np.asarray(header.get_affine(), dtype=np.float64)
    refuse_deformed(affine)
    return affine
