"""Segments and fields of HL7 v2.5.1 as text: separators within a value are written so that none of them separates."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
ENCODING_CHARACTERS = "^~\\&"
UTF8 = "UNICODE UTF-8"
CODECS = {
    UTF8: "utf-8",
    "8859/1": "latin-1",
    "8859/2": "iso8859_2",
    "8859/5": "iso8859_5",
    "8859/7": "iso8859_7",
    "8859/9": "iso8859_9",
    "8859/15": "iso8859_15",
}
"""By what MSH-18 (table 0211) calls them."""
PLACES = {3: "sending_application", 4: "sending_facility", 5: "receiving_application", 6: "receiving_facility"}
"""Fields of MSH that whoever sends fills in."""


def escaped(text: str) -> str:
    """Write a value; control characters, which would end a segment or a frame, become a blank."""
    return "".join(_ESCAPES.get(character, character) for character in _CONTROL.sub(" ", text))


def components(*parts: str) -> str:
    """Write a field of several components, without empty ones at its end."""
    return "^".join(map(escaped, parts)).rstrip("^")


def segment(name: str, fields: dict[int, str]) -> str:
    """Write a segment from its fields by number; the others are empty. Values are written already."""
    return "|".join((name, *(fields.get(number, "") for number in range(1, max(fields) + 1))))


def moment(at: datetime) -> str:
    """Write a moment, to the second and with its zone (TS)."""
    return at.strftime("%Y%m%d%H%M%S%z")


def person(name: str) -> str:
    """Write a person's name (XPN) from DICOM's: each writing is a repetition, prefix and suffix change places."""
    written = []
    for group, kind in zip(name.split("=")[:3], ("", "I", "P"), strict=False):
        family, given, middle, prefix, suffix = (group.split("^") + [""] * 5)[:5]
        if group.strip("^ "):
            written.append(components(family, given, middle, suffix, prefix, "", "L", kind))
    return "~".join(written)


def addressed(message: bytes, places: Mapping[str, str], character_set: str = UTF8) -> tuple[bytes, str]:
    """Fill in who sends and who receives (PLACES), as the receiver's table has them; the message, and its MSH-10.

    In ``character_set``, as far as that has all the letters; else in UTF-8.
    """
    header, _, rest = message.decode().partition("\r")
    fields = header.split("|")
    for number, name in PLACES.items():
        fields[number - 1] = components(*places[name].split("^"))
    control_id = fields[9]
    with suppress(UnicodeEncodeError):
        return "\r".join(("|".join([*fields[:17], character_set]), rest)).encode(CODECS[character_set]), control_id
    return "\r".join(("|".join(fields), rest)).encode(), control_id
