"""Segments and fields of HL7 v2.5.1 as text: separators within a value are written so that none of them separates."""

import re
from collections.abc import Mapping
from datetime import datetime

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
ENCODING_CHARACTERS = "^~\\&"
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


def addressed(message: bytes, places: Mapping[str, str]) -> bytes:
    """Fill in who sends and who receives (PLACES), as the receiver's table has them."""
    header, _, rest = message.decode().partition("\r")
    fields = header.split("|")
    for number, name in PLACES.items():
        fields[number - 1] = components(*places[name].split("^"))
    return ("|".join(fields) + "\r" + rest).encode()
