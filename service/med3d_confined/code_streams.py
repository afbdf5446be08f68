"""What compressed frames say of their own size, in their first bytes: a decoder believes that, whatever DICOM says.

A JPEG 2000 stream of 12 KB may declare 20,000 x 20,000 pixels, for which the codec asks for gigabytes before it finds
that nothing follows. So no frame is decoded that does not declare Rows x Columns. JPEG: ITU-T T.81 B.2.2; JPEG-LS:
T.87 C.2.2; JPEG 2000 and HTJ2K: T.800 A.5.1; RLE: PS3.5 annex G.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    RLELossless,
)

JPEG_2000 = frozenset(
    {JPEG2000, JPEG2000Lossless, JPEG2000MC, JPEG2000MCLossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL}
)
MAX_TILES = 4096
"""Of a JPEG 2000 image; the codec keeps some kilobytes for each from the start."""
RLE_HEADER_BYTES = 64
RLE_UNSUSPICIOUS_BYTES = 1024**2
"""A segment of so many bytes unpacks to 64 MiB at most, and is not looked through."""

_SOC_SIZ = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_JP2_CODESTREAM = b"jp2c"
_SOI, _SOS = 0xD8, 0xDA
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_HIERARCHY_MARKERS = frozenset({0xDE, 0xDF})
"""DHP and EXP: an image of several frames, whose size stands before and beside what its first frame declares."""
_BARE_MARKERS = frozenset(range(0xD0, 0xD8)) | {0x01}


class UnreadableStreamError(ValueError):
    """The frame is not a code stream of its transfer syntax, or one that no scanner writes."""


@dataclass(frozen=True)
class FrameSize:
    """Pixels of one frame, and how many samples each has."""

    columns: int
    rows: int
    samples: int


def declared_size(stream: bytes, syntax: str, expected: FrameSize) -> FrameSize:
    """Read what a compressed frame declares; of RLE, which declares nothing, ``expected`` where it holds no more.

    Raises UnreadableStreamError.
    """
    try:
        if syntax == RLELossless:
            return _rle_size(stream, expected)
        return _jpeg_2000_size(stream) if syntax in JPEG_2000 else _jpeg_size(stream)
    except (IndexError, struct.error) as error:
        raise UnreadableStreamError("it ends within its header") from error


def _jpeg_2000_size(stream: bytes) -> FrameSize:
    start = _code_stream_start(stream)
    if stream[start : start + 4] != _SOC_SIZ:
        raise UnreadableStreamError("it does not begin with SOC and SIZ")
    right, bottom, left, top, tile_columns, tile_rows, tile_left, tile_top, samples = struct.unpack_from(
        ">8LH", stream, start + 8
    )
    if not tile_columns or not tile_rows or right <= left or bottom <= top:
        raise UnreadableStreamError("its SIZ describes no image")
    across, down = -(-(right - tile_left) // tile_columns), -(-(bottom - tile_top) // tile_rows)
    if across * down > MAX_TILES:
        raise UnreadableStreamError("it is cut into more tiles than any scanner makes")
    return FrameSize(right - left, bottom - top, samples)


def _code_stream_start(stream: bytes) -> int:
    """Skip the boxes of a JP2 file, which some senders leave around the code stream."""
    if not stream.startswith(_JP2_SIGNATURE):
        return 0
    at = 0
    while at + 8 <= len(stream):
        length, kind = struct.unpack_from(">L4s", stream, at)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", stream, at + 8)
            header = 16
        if kind == _JP2_CODESTREAM:
            return at + header
        if length < header:
            break
        at += length
    raise UnreadableStreamError("it holds no code stream")


def _jpeg_size(stream: bytes) -> FrameSize:
    """Read the one frame header of a JPEG or JPEG-LS stream."""
    segments = list(_segments(stream))
    found = [place for marker, place in segments if marker in _FRAME_MARKERS]
    if len(found) != 1 or any(marker in _HIERARCHY_MARKERS for marker, _ in segments):
        raise UnreadableStreamError("it has no frame header, or several")
    rows, columns, samples = struct.unpack_from(">HHB", stream, found[0] + 3)
    return FrameSize(columns, rows, samples)


def _segments(stream: bytes) -> Iterator[tuple[int, int]]:
    """Give the markers up to the first scan, and where the content of each begins (at its length)."""
    if stream[0] != 0xFF or stream[1] != _SOI:
        raise UnreadableStreamError("it does not begin with SOI")
    at = 2
    while True:
        if stream[at] != 0xFF:
            raise UnreadableStreamError("between its segments is something else")
        while stream[at] == 0xFF:  # markers may be filled up with FF
            at += 1
        marker, at = stream[at], at + 1
        if marker == _SOS:
            return
        if marker in _BARE_MARKERS:
            continue
        yield marker, at
        (length,) = struct.unpack_from(">H", stream, at)
        at += max(length, 2)


def _rle_size(stream: bytes, expected: FrameSize) -> FrameSize:
    """Look at how much the segments unpack to; twice what is expected is no image of this size."""
    count, *offsets = struct.unpack_from("<16L", stream)
    if not 1 <= count <= len(offsets) or offsets[0] < RLE_HEADER_BYTES:
        raise UnreadableStreamError("its RLE header is none")
    ends = [*offsets[1:count], len(stream)]
    most_bytes = 2 * expected.columns * expected.rows + RLE_UNSUSPICIOUS_BYTES
    for start, end in zip(offsets[:count], ends, strict=True):
        if end - start > RLE_UNSUSPICIOUS_BYTES:
            _require_unpacks_within(memoryview(stream)[start:end], most_bytes)
    return expected


def _require_unpacks_within(segment: memoryview, most_bytes: int) -> None:
    at, unpacked, end = 0, 0, len(segment)
    while at < end:
        control = segment[at]
        if control < 128:
            unpacked, at = unpacked + control + 1, at + control + 2
        elif control > 128:
            unpacked, at = unpacked + 257 - control, at + 2
        else:
            at += 1
        if unpacked > most_bytes:
            raise UnreadableStreamError("it unpacks to more than its image")
