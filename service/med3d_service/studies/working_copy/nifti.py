"""One NIfTI image in, its copy without texts out (NIfTI-1 and NIfTI-2 headers, nifti1.h and nifti2.h)."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from typing import IO, cast

PIECE_BYTES = 1024 * 1024


class UnreadableNiftiError(Exception):
    """The header does not say where the image lies."""


@dataclass(frozen=True)
class _Layout:
    """Where a header's fields lie: texts as (offset, length), the others as offset and struct format."""

    header_bytes: int
    texts: tuple[tuple[int, int], ...]
    dim: tuple[int, str]
    bitpix: tuple[int, str]
    vox_offset: tuple[int, str]


# data_type, db_name and what lies unused behind them (NIfTI-1 alone), intent_name, descrip, aux_file; unused_str
_TEXTS_1 = ((4, 10), (14, 18), (32, 7), (328, 16), (148, 80), (228, 24))
_TEXTS_2 = ((508, 16), (240, 80), (320, 24), (525, 15))
_NIFTI_1 = _Layout(348, _TEXTS_1, dim=(40, "8h"), bitpix=(72, "h"), vox_offset=(108, "f"))
_NIFTI_2 = _Layout(540, _TEXTS_2, dim=(16, "8q"), bitpix=(14, "h"), vox_offset=(168, "q"))


def clean_nifti(source: IO[bytes], target: IO[bytes], *, compressed: bool) -> None:
    """Copy the image at ``source`` to ``target`` as .nii.gz, without texts, extensions and what follows the voxels.

    Raises UnreadableNiftiError.
    """
    try:
        image = cast("IO[bytes]", gzip.GzipFile(fileobj=source)) if compressed else source
        header, voxel_bytes = _clean_header(image)
        # Fast compression: the copy is read once, by the next machine.
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="", mtime=0) as cleaned:
            cleaned.write(header)
            while voxel_bytes > 0 and (piece := image.read(min(PIECE_BYTES, voxel_bytes))):
                cleaned.write(piece)
                voxel_bytes -= len(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error, OverflowError, ValueError) as error:
        raise UnreadableNiftiError from error


def _clean_header(image: IO[bytes]) -> tuple[bytes, int]:
    """Read up to the voxels; the clean header with the voxels right behind it, and how many bytes of them there are."""
    start = image.read(4)
    order = "<" if start in {struct.pack("<i", 348), struct.pack("<i", 540)} else ">"
    (size,) = struct.unpack(f"{order}i", start)
    layout = {348: _NIFTI_1, 540: _NIFTI_2}.get(size)
    if layout is None:
        raise UnreadableNiftiError
    header = bytearray(start + image.read(size - 4))
    dims = struct.unpack_from(order + layout.dim[1], header, layout.dim[0])
    (bits,) = struct.unpack_from(order + layout.bitpix[1], header, layout.bitpix[0])
    (offset,) = struct.unpack_from(order + layout.vox_offset[1], header, layout.vox_offset[0])
    if not 1 <= dims[0] <= 7 or any(d < 0 for d in dims[1 : dims[0] + 1]) or bits <= 0 or not offset >= size:
        raise UnreadableNiftiError
    _skip(image, int(offset) - size)
    for at, length in layout.texts:
        header[at : at + length] = bytes(length)
    struct.pack_into(order + layout.vox_offset[1], header, layout.vox_offset[0], size + 4)
    return bytes(header) + bytes(4), math.prod(max(d, 1) for d in dims[1 : dims[0] + 1]) * bits // 8


def _skip(image: IO[bytes], count: int) -> None:
    while count > 0:
        piece = image.read(min(count, PIECE_BYTES))
        if not piece:
            raise EOFError
        count -= len(piece)
