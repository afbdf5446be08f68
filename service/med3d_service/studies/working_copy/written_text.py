"""Text of a data set as it reads by its Specific Character Set (PS3.5 6.1, PS3.3 C.12.1.1.2).

What cannot be read becomes U+FFFD: a name that is seen to be damaged harms nobody, one that is silently another may.
pydicom's own reading takes what states no character set for Latin-1, and warns with the help of a module that is not
safe among threads.
"""

import re
from functools import cache

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

UNREADABLE = "\N{REPLACEMENT CHARACTER}"
ESCAPE = b"\x1b"
_ASCII = "ascii"
_STAND_ALONE = frozenset({"utf_8", "gb18030", "gbk"})
"""Without code extensions: an escape is no more than a control character there."""
_ALSO_ON_WINDOWS = {"latin_1": "cp1252", "iso_ir_148": "cp1254"}
"""Windows writes letters and dashes where these sets have control characters, which no text of DICOM may hold."""
_SPELT = re.compile(r"ISO[ _-]*IR[ _-]*([0-9]+)")
_PIECES = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
_ENDS_OF_A_CODE = re.compile(rb"[\^=\\\r\n\f\t]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def read_text(raw: bytes, stated: str, otherwise: str = "") -> str:
    """Read the bytes of a text or a name.

    stated: Specific Character Set, its values apart by backslashes. otherwise: the one that counts where none is
    stated, or one that DICOM does not know; empty: ASCII, beyond which only what is UTF-8 beyond doubt is read.
    """
    raw = raw.strip(b" \0")
    first = _codec(stated.partition("\\")[0])
    first = _codec(otherwise) if first == _ASCII else first
    if ESCAPE not in raw or first in _STAND_ALONE:
        text = _plain(raw, first)
    else:
        text = "".join(_piece(one, first) for one in _PIECES.findall(raw))
    return _CONTROLS.sub(UNREADABLE, text)


@cache
def _codec(term: str) -> str:
    """Find Python's name of a defined term; ASCII for what is none, and for the default repertoire."""
    term = term.strip().upper()
    if term in {"UTF-8", "UTF8"}:
        return "utf_8"
    if spelt := _SPELT.fullmatch(term):
        term = f"ISO_IR {spelt[1]}"
    if term in {"", "ISO_IR 6", "ISO 2022 IR 6"} or term not in python_encoding:
        return _ASCII
    return python_encoding[term].lower().replace("utf8", "utf_8")


def _piece(piece: bytes, first: str) -> str:
    """Read what follows an escape sequence, which says by itself in which code, declared or not."""
    if not piece.startswith(ESCAPE):
        return _plain(piece, first)
    length = 4 if piece.startswith((b"\x1b$(", b"\x1b$)")) else 3
    code, rest = piece[:length], piece[length:]
    codec = CODES_TO_ENCODINGS.get(code)
    if codec is None:
        return UNREADABLE + _plain(piece[1:], first)
    if codec.startswith("iso2022"):  # of which Python reads the escapes itself
        return piece.decode(codec, "replace")
    if code == b"\x1b(B":  # ASCII below, and above whatever was there
        return _plain(rest, first)
    # Component, group, value and line end a code (PS3.5 6.1.2.5.3).
    end = _ENDS_OF_A_CODE.search(rest)
    within = len(rest) if end is None else end.start()
    return rest[:within].decode(codec, "replace") + _plain(rest[within:], first)


def _plain(raw: bytes, codec: str) -> str:
    if raw.isascii():
        return raw.decode(codec, "replace")
    if codec == _ASCII or codec in _ALSO_ON_WINDOWS:
        # Letters of these sets that happen to be UTF-8 are no words: capitals with an accent, each before a sign.
        try:
            return raw.decode("utf_8")
        except UnicodeDecodeError:
            codec = _ALSO_ON_WINDOWS.get(codec, codec)
    return raw.decode(codec, "replace")
