"""One DICOM file as bytes: is it one, where its data set begins, and whether its pixel data is whole."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom.tag import BaseTag

PixelDataState = Literal["whole", "truncated", "absent"]

PIXEL_DATA = 0x7FE00010
FIRST_PIXEL_TAG = 0x7FE00008  # Float and Double Float Pixel Data lie just before Pixel Data
UNDEFINED_LENGTH = 0xFFFFFFFF
HEAD_BYTES = 140
GZIP = b"\x1f\x8b"
MAX_INSTANCE_BYTES = 2 * 1024**3
MAX_RATIO = 100  # unpacked to packed bytes, looked at above UNSUSPICIOUS_BYTES
UNSUSPICIOUS_BYTES = 64 * 1024**2

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_ITEM = b"\xfe\xff\x00\xe0"


def looks_like_dicom(head: bytes) -> bool:
    """Tell whether ``head`` (the file's first 140 bytes) begins a DICOM file, with or without preamble and DICM prefix.

    Without the prefix (PS3.10 files that lost it, or bare data sets) the first element must be one of group 0002 or
    0008 with a plausible VR or length; text, images and archives never begin so.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    for byte_order in ("little", "big"):
        group = int.from_bytes(head[0:2], byte_order)
        element = int.from_bytes(head[2:4], byte_order)
        if group not in {0x0002, 0x0008} or element > 0x0100:
            continue
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        if explicit or int.from_bytes(head[4:8], "little") <= 256:
            return True
    return False


def data_set_start(data: bytes | memoryview) -> int:
    """Return the offset of the first byte after preamble, prefix and group 0002 (always explicit VR little endian)."""
    offset = 132 if bytes(data[128:132]) == b"DICM" else 0
    while bytes(data[offset : offset + 2]) == b"\x02\x00":
        if bytes(data[offset + 4 : offset + 6]) in _LONG_VRS:
            offset += 12 + int.from_bytes(data[offset + 8 : offset + 12], "little")
        else:
            offset += 8 + int.from_bytes(data[offset + 6 : offset + 8], "little")
    return min(offset, len(data))


class TooLargeError(ValueError):
    """A file holds more than an image does, or pretends to: gzip can make a terabyte of a gigabyte of zeros."""


def read_dicom(path: Path) -> bytes:
    """Read a DICOM file, gzipped (.dcm.gz) or not. Raises TooLargeError, and EOFError where the gzip ends early."""
    packed_bytes = path.stat().st_size
    if packed_bytes > MAX_INSTANCE_BYTES:
        raise TooLargeError
    data = path.read_bytes()
    if data[:2] != GZIP:
        return data
    limit = min(MAX_INSTANCE_BYTES, max(UNSUSPICIOUS_BYTES, MAX_RATIO * packed_bytes))
    with gzip.open(BytesIO(data)) as file:
        inflated = file.read(limit + 1)
    if len(inflated) > limit:
        raise TooLargeError
    return inflated


class PixelDataWatch:
    """Stops pydicom's header pass at the pixel data and remembers what was announced there.

    Pass it as ``stop_when`` to ``pydicom.filereader.read_partial``.
    """

    def __init__(self) -> None:
        self.announced_bytes: int | None = None
        self._element_header_bytes = 8

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        """Return whether the pass stops at this element."""
        if tag < FIRST_PIXEL_TAG:
            return False
        if tag == PIXEL_DATA:
            self.announced_bytes = length
            self._element_header_bytes = 12 if vr in {"OB", "OW", "UN"} else 8
        return True

    def state(self, file: BinaryIO, file_bytes: int, expected_bytes: int | None) -> PixelDataState:
        """Tell what the file, positioned at the pixel data's element, really holds.

        ``expected_bytes`` is what rows, columns, frames and bits call for (native syntaxes only, else None).
        """
        if self.announced_bytes is None:
            return "truncated" if file.tell() > file_bytes else "absent"
        if self.announced_bytes == 0:
            return "absent"
        file.seek(self._element_header_bytes, 1)
        if self.announced_bytes == UNDEFINED_LENGTH:
            return "whole" if _fragments_end(file, file_bytes) else "truncated"
        if expected_bytes is not None and self.announced_bytes < expected_bytes:
            return "truncated"
        return "whole" if file_bytes - file.tell() >= self.announced_bytes else "truncated"


def _fragments_end(file: BinaryIO, file_bytes: int) -> bool:
    """Tell whether the items of encapsulated pixel data (PS3.5 A.4) reach their sequence delimiter within the file."""
    while file.tell() + 8 <= file_bytes:
        tag, length = file.read(4), int.from_bytes(file.read(4), "little")
        if tag == _SEQUENCE_END:
            return True
        if tag != _ITEM:
            return False
        file.seek(length, 1)
    return False
