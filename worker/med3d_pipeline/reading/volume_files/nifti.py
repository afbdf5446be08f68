"""NIfTI and FreeSurfer (.mgz) files, gzipped or not: headers first, bounded, refused where their place is ambiguous."""

import gzip
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.refusals import Fault
from med3d_pipeline.reading.volume_files.image_formats import unread_format
from med3d_pipeline.reading.volume_files.label_images import label_fault
from med3d_pipeline.reading.volume_files.mgh import looks_like_mgh, mgh_affine, mgh_header
from med3d_pipeline.reading.volume_files.nifti_forms import Placement, placement
from med3d_pipeline.reasons import Reason
from med3d_pipeline.volume import Affine, Volume

MAX_VOXELS = 512**3
HEADER_BYTES = 540
MAX_BYTES = 8 * MAX_VOXELS + 2**20  # the largest volume with the widest voxels
PIECE_BYTES = 2**20
MAX_HEADER_BYTES = 16 * 1024**2  # with extensions; nibabel reads those whole
_BROKEN = (
    ArithmeticError,
    EOFError,
    HeaderDataError,
    HeaderTypeError,
    ImageFileError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    WrapStructError,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """The header of a file that is one volume: NIfTI-1, NIfTI-2 or MGH.

    fault: why it is no usable volume; shape and affine are then best guesses.
    affine: (4, 4) float64, RAS+ mm, as Volume has it. shape: the three spatial axes. remark: what a person should know
    where it is used. copies: files beside it that hold the same.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: Affine | None
    fault: Fault | None
    remark: Reason | None = None
    copies: tuple[Path, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each voxel axis; zeros where the header does not tell."""
        if self.affine is None:
            return (0.0, 0.0, 0.0)
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(x), float(y), float(z))


def looks_like_nifti(path: Path, head: bytes) -> bool:
    """Tell whether a file is such a volume by its first bytes, or says so by its name (then it must be readable).

    ``head``: at least HEADER_BYTES, inflated where the file is gzipped.
    """
    if path.name.lower().endswith((".nii", ".nii.gz", ".mgz", ".mgh")):
        return True
    return head[344:348] == b"n+1\x00" or head[4:8] == b"n+2\x00" or looks_like_mgh(head)


def read_nifti_header(path: Path) -> NiftiFile:
    """Read and judge the header; voxels are neither read nor decompressed. Never raises: see ``NiftiFile.fault``."""
    try:
        with _opened(path) as file:
            return _judged(path, _header(file))
    except _BROKEN:
        return _unusable(path, "nifti_unreadable", _why_unreadable(path))


def _why_unreadable(path: Path) -> str:
    if path.stat().st_size == 0:
        return "The file is empty (0 bytes). Send an intact .nii or .nii.gz."
    return (
        unread_format(path, first_bytes(path)) or "The file is no readable NIfTI image. Send an intact .nii or .nii.gz."
    )


def first_bytes(path: Path) -> bytes:
    """Return the first 1024 bytes of what a file holds, inflated where it is gzipped; none where that is damaged."""
    try:
        with _opened(path) as file:
            return file.read(1024)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


def read_nifti(nifti: NiftiFile) -> tuple[Volume, str]:
    """Read the voxels with scl_slope and scl_inter applied, and sha256 (hex) of the file's bytes as they are.

    Values that are no numbers stay, and so do those beyond float32 as infinities: outside the head they are background,
    which preprocessing decides.

    Raises InputRefused with the header's own fault, nifti_truncated or label_image. No more bytes are decompressed than
    the header calls for, and that is bounded, so a gzip bomb stays small.
    """
    if nifti.fault is not None or nifti.affine is None:
        unplaced = "The header does not say where the image lies. Convert the scan from DICOM again."
        raise (nifti.fault or Fault("nifti_no_affine", unplaced)).refusal()
    try:
        with _opened(nifti.path) as file, np.errstate(over="ignore", invalid="ignore"):
            voxels = _image(file).get_fdata(dtype=np.float32, caching="unchanged")
    except _BROKEN as error:
        raise InputRefused(
            "nifti_truncated",
            "The file ends before the voxels that its header announces, or is damaged. Send it again, complete.",
        ) from error
    voxels = voxels.reshape(nifti.shape)
    label = label_fault(voxels)
    if label is not None:
        raise label.refusal()
    return Volume(voxels, nifti.affine), digest_file(nifti.path)


def digest_file(path: Path) -> str:
    """Return sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def digest_content(path: Path) -> str:
    """Return sha256 (hex) of what a file holds, inflated: equal for one image as .nii and .nii.gz.

    Reads at most MAX_BYTES.
    """
    digest = sha256()
    left = MAX_BYTES
    try:
        with _opened(path) as file:
            while left > 0 and (piece := file.read(min(left, PIECE_BYTES))):
                digest.update(piece)
                left -= len(piece)
    except _BROKEN:
        return digest_file(path)
    return digest.hexdigest()


def _opened(path: Path) -> AbstractContextManager[BinaryIO]:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast("AbstractContextManager[BinaryIO]", gzip.open(path) if compressed else path.open("rb"))


def _header(file: BinaryIO) -> Any:
    """Read the header over ``file`` by content alone, and not a byte of the voxels."""
    head = file.read(HEADER_BYTES)
    file.seek(0)
    if looks_like_mgh(head):
        return mgh_header(head)
    return _image(file).header


def _image(file: BinaryIO) -> Any:
    """Open the image over ``file`` by content; nibabel itself goes by the file's name."""
    head = file.read(HEADER_BYTES)
    file.seek(0)
    if looks_like_mgh(head):
        return nib.MGHImage.from_stream(file)
    second = int.from_bytes(head[:4], "little") == HEADER_BYTES or int.from_bytes(head[:4], "big") == HEADER_BYTES
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    header = kind.header_class(head[: kind.header_class.template_dtype.itemsize], check=False)
    if not 0 <= float(header["vox_offset"]) <= MAX_HEADER_BYTES:
        raise ImageFileError("the voxels begin too far into the file")
    with np.errstate(invalid="ignore"):  # a form may hold signalling NaNs, and qform be the one that is taken
        return kind.from_stream(file)


def _judged(path: Path, header: Any) -> NiftiFile:
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) < 3 or min(shape) < 1 or any(size != 1 for size in shape[3:]):
        return _unusable(
            path,
            "nifti_not_one_volume",
            "The file holds not one three-dimensional volume (a series of volumes, or a single slice). "
            "Send one volume per file.",
        )
    space = (shape[0], shape[1], shape[2])
    if header.get_data_dtype().kind not in "iuf":
        reason = "The voxels are coloured or complex numbers. Send one grey value per voxel."
        return _unusable(path, "unsupported_colour", reason, space)
    if shape[0] * shape[1] * shape[2] > MAX_VOXELS:
        reason = (
            f"The header announces more than {MAX_VOXELS // 10**6} million voxels. Send a scan at usual resolution."
        )
        return _unusable(path, "too_large", reason, space)
    try:
        placed = (
            Placement(mgh_affine(header), None) if isinstance(header, nib.MGHImage.header_class) else placement(header)
        )
    except InputRefused as refusal:
        return _unusable(path, refusal.code, refusal.reason, space)
    return NiftiFile(path, space, placed.affine, None, placed.remark)


def _unusable(path: Path, code: str, reason: str, shape: tuple[int, int, int] = (0, 0, 0)) -> NiftiFile:
    return NiftiFile(path, shape, None, Fault(code, reason))
