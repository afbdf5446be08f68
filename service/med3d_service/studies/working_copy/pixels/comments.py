"""Texts inside compressed frames: comments, application segments, and what lies behind the end.

Nothing is cut out: what may be a text is overwritten where it stands, so that all lengths and offsets stay true.
JPEG and JPEG-LS: ITU-T T.81 B.2.4; JPEG 2000: T.800 A.9.2, and I.7 for the boxes of a JP2 file.
"""

import re
import struct
from collections.abc import Iterator
from itertools import islice, pairwise

ITEM = (0xFFFE, 0xE000)
_JPEG, _JPEG_2000, _JP2 = _BEGINNINGS = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
_SOS, _COMMENT, _APPLICATION = 0xDA, 0xFE, range(0xE0, 0xF0)
_BARE = frozenset(range(0xD0, 0xD8)) | {0x01}
_MEANT = (b"JFIF\0", b"Adobe", b"mrfx")
"""Of the application segments those that say how samples are to be read; they hold numbers alone."""
LONGEST_MEANT = 20
_END = 0xD9
_BEHIND_A_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""A marker that is none of restart: in JPEG's samples 00 follows FF, in those of JPEG-LS less than 80."""
_SOT, _SOD, _COM = 0x90, 0x93, 0x64
_CODE_STREAM = b"jp2c"
_BOXES_OF_NUMBERS = frozenset({b"jP  ", b"ftyp", b"jp2h"})
"""Besides the code stream; all others may hold a text: xml, uuid, uinf, jp2i, labels, and what is yet to be defined."""


def without_texts(pixels: bytes, header_bytes: int) -> bytes:
    """Overwrite the texts in encapsulated pixel data; ``pixels`` is the whole element, header and all."""
    written = bytearray(pixels)
    for start, end in islice(_items(pixels, header_bytes), 1):
        if not _are_offsets(pixels[start:end], len(pixels)):
            written[start:end] = bytes(end - start)
    for stream in _streams(pixels, header_bytes):
        data = b"".join(pixels[start:end] for start, end in stream)
        for text_start, text_end in _texts(data, 0, len(data)):
            _overwrite(written, stream, text_start, text_end)
    return bytes(written)


def _are_offsets(table: bytes, size_bytes: int) -> bool:
    """Say whether the first item is what it must be: where frames begin, each behind the one before (PS3.5 A.4)."""
    if len(table) % 4:
        return False
    offsets = struct.unpack(f"<{len(table) // 4}L", table)
    return all(one < other for one, other in pairwise((*offsets, size_bytes)))


def _streams(data: bytes, at: int) -> Iterator[list[tuple[int, int]]]:
    """Give the places of the fragments of each code stream: a frame may be cut into several."""
    stream: list[tuple[int, int]] = []
    for start, end in _items(data, at):
        if stream and data.startswith(_BEGINNINGS, start, end):
            yield stream
            stream = []
        if stream or data.startswith((*_BEGINNINGS, _JPEG_2000[:2]), start, end):
            stream.append((start, end))
    if stream:
        yield stream


def _items(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    while at + 8 <= len(data):
        *tag, length = struct.unpack_from("<HHL", data, at)
        if tuple(tag) != ITEM:
            return
        at += 8
        yield at, min(at + length, len(data))
        at += length


def _overwrite(written: bytearray, stream: list[tuple[int, int]], start: int, end: int) -> None:
    """Write over a part of a stream, wherever its fragments lie."""
    for place, place_end in stream:
        first, last = max(start, 0), min(end, place_end - place)
        if first < last:
            written[place + first : place + last] = bytes(last - first)
        start, end = start - (place_end - place), end - (place_end - place)


def _texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the places of texts in one stream, up to where it makes no sense any more."""
    if data.startswith(_JP2, start, end):
        yield from _jp2_texts(data, start, end)
    elif data.startswith(_JPEG_2000, start, end):
        yield from _jpeg_2000_texts(data, start, end)
    elif data.startswith(_JPEG, start, end):
        yield from _jpeg_texts(data, start, end)


def _jpeg_texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Return what lies before, between and behind the scans."""
    at = start + len(_JPEG)
    while at + 2 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _END:
            yield at + 2, end
            return
        if at + 4 > end:
            return
        text, after = at + 4, min(at + 2 + max(2, _length(data, at + 2)), end)
        is_meant = after - text <= LONGEST_MEANT and data.startswith(_MEANT, text, end)
        if marker == _COMMENT or (marker in _APPLICATION and not is_meant):
            yield text, after
        at = after
        if marker == _SOS:
            found = _BEHIND_A_SCAN.search(data, after, end)
            if found is None:
                return
            at = found.start()


def _jpeg_2000_texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Look in the main header, and in that of each tile's part."""
    at, part_end = start + 2, end
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SOD:
            at = part_end
            continue
        if marker == _END:
            yield at + 2, end
            return
        after = min(at + 2 + max(2, _length(data, at + 2)), end)
        if marker == _COM:
            yield at + 6, after  # behind what kind of comment it is
        elif marker == _SOT and at + 10 <= end:
            (part_bytes,) = struct.unpack_from(">L", data, at + 6)
            part_end = min(at + part_bytes, end) if part_bytes > after - at else _end_of_packets(data, after, end)
        at = after


def _end_of_packets(data: bytes, at: int, end: int) -> int:
    """Find the end of a part of unstated length, which is the last: no packet holds FF before more than 8F."""
    found = data.find(b"\xff\xd9", at, end)
    return end if found < 0 else found


def _jp2_texts(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    while at + 8 <= end:
        length, kind = struct.unpack_from(">L4s", data, at)
        text = at + 8
        if length == 1 and at + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            text = at + 16
        after = end if length == 0 else min(at + length, end)
        if after < text:
            return
        if kind == _CODE_STREAM:
            yield from _jpeg_2000_texts(data, text, after)
        elif kind not in _BOXES_OF_NUMBERS:
            yield text, after
        at = after


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
