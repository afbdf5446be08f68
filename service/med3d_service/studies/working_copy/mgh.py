"""One FreeSurfer volume (.mgh, .mgz) in, its copy without texts out: header, voxels, and nothing behind them."""

import gzip
import math
import struct
import zlib
from typing import IO, cast

from med3d_contract.sent_files.content import MGH_HEADER_BYTES, MGH_VOXEL_BYTES, is_mgh
from med3d_service.studies.working_copy.nifti import PIECE_BYTES, UnreadableNiftiError

_USED_BYTES = 90  # sizes, type and place; the rest of the header is unused, and behind the voxels stand names and paths


def clean_mgh(source: IO[bytes], target: IO[bytes], *, compressed: bool) -> None:
    """Copy the volume at ``source`` to ``target`` as .mgz. Raises UnreadableNiftiError."""
    try:
        image = cast("IO[bytes]", gzip.GzipFile(fileobj=source)) if compressed else source
        header = image.read(MGH_HEADER_BYTES)
        if not is_mgh(header):
            raise UnreadableNiftiError
        _, *sizes, kind = struct.unpack_from(">6i", header)
        left = math.prod(sizes) * MGH_VOXEL_BYTES[kind]
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="", mtime=0) as cleaned:
            cleaned.write(header[:_USED_BYTES].ljust(MGH_HEADER_BYTES, b"\0"))
            while left > 0 and (piece := image.read(min(PIECE_BYTES, left))):
                cleaned.write(piece)
                left -= len(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
        raise UnreadableNiftiError from error
