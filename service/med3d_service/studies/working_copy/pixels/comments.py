"""Texts inside compressed frames: comments and application segments, in which a sender may write anything.

Nothing is cut out: what may be a text is overwritten where it stands, so that all lengths and offsets stay true.
JPEG and JPEG-LS: ITU-T T.81 B.2.4; JPEG 2000: T.800 A.9.2, and I.7 for the boxes of a JP2 file.
"""

import struct
from collections.abc import Iterator

ITEM = (0xFFFE, 0xE000)
_JPEG, _JPEG_2000, _JP2 = b"\xff\xd8", b"\xff\x4f", b"\x00\x00\x00\x0cjP  "
_SOS, _COMMENT, _APPLICATION = 0xDA, 0xFE, range(0xE0, 0xF0)
_BARE = frozenset(range(0xD0, 0xD8)) | {0x01}
_MEANT = (b"JFIF\0", b"Adobe", b"mrfx")
"""Of the application segments those that say how samples are to be read; they hold numbers alone."""
LONGEST_MEANT = 20
_SOT, _SOD, _COM = 0x90, 0x93, 0x64
_CODE_STREAM = b"jp2c"
_TEXT_BOXES = frozenset({b"xml ", b"uuid", b"uinf", b"jp2i"})


def without_texts(pixels: bytes, header_bytes: int) -> bytes:
    """Overwrite the texts in encapsulated pixel data; ``pixels`` is the whole element, header and all."""
    written = bytearray(pixels)
    for start, end in _items(pixels, header_bytes):
        for text_start, text_end in _texts(pixels, start, end):
            written[text_start:text_end] = b" " * (text_end - text_start)
    return bytes(written)


def _items(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    while at + 8 <= len(data):
        *tag, length = struct.unpack_from("<HHL", data, at)
        if tuple(tag) != ITEM:
            return
        at += 8
        yield at, min(at + length, len(data))
        at += length


def _texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the places of texts in one fragment, up to where it makes no sense any more."""
    if data.startswith(_JP2, start, end):
        yield from _jp2_texts(data, start, end)
    elif data.startswith(_JPEG_2000, start, end):
        yield from _jpeg_2000_texts(data, start, end)
    elif data.startswith(_JPEG, start, end):
        yield from _jpeg_texts(data, start, end)


def _jpeg_texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Up to the first scan."""
    at = start + len(_JPEG)
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _SOS:
            return
        text, after = at + 4, min(at + 2 + max(2, _length(data, at + 2)), end)
        is_meant = after - text <= LONGEST_MEANT and data.startswith(_MEANT, text, end)
        if marker == _COMMENT or (marker in _APPLICATION and not is_meant):
            yield text, after
        at = after


def _jpeg_2000_texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """In the main header, and in that of each tile's part."""
    at, part_end = start + len(_JPEG_2000), end
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SOD:
            at = part_end
            continue
        after = min(at + 2 + max(2, _length(data, at + 2)), end)
        if marker == _COM:
            yield at + 6, after  # behind what kind of comment it is
        elif marker == _SOT and at + 10 <= end:
            (part_bytes,) = struct.unpack_from(">L", data, at + 6)
            part_end = min(at + part_bytes, end) if part_bytes > after - at else end
        at = after


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
        if kind in _TEXT_BOXES:
            yield text, after
        elif kind == _CODE_STREAM:
            yield from _jpeg_2000_texts(data, text, after)
        at = after


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
