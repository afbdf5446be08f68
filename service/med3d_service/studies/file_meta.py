"""A DICOM file's group 0002 (PS3.10 7.1): written, and read by a reader that takes any bytes without harm."""

import re
import struct
from dataclasses import dataclass

from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

_PREAMBLE_BYTES = 128
_LONG_VRS = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT"})
_UID = re.compile(rb"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class FileMeta:
    """The UIDs of group 0002; None where absent or malformed."""

    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    transfer_syntax_uid: str | None = None


def read_file_meta(head: bytes) -> FileMeta:
    """Read group 0002 from the start of a file, also where the preamble was left out. Other files say nothing."""
    at = _PREAMBLE_BYTES + 4 if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM" else 0
    found: dict[int, str] = {}
    while head[at : at + 2] == b"\x02\x00" and len(head) >= at + 12:
        element = int.from_bytes(head[at + 2 : at + 4], "little")
        if head[at + 4 : at + 6] in _LONG_VRS:
            start, length = at + 12, struct.unpack_from("<I", head, at + 8)[0]
        else:
            start, length = at + 8, struct.unpack_from("<H", head, at + 6)[0]
        value = head[start : start + length].rstrip(b"\0 ")
        if len(value) <= 64 and _UID.fullmatch(value):
            found[element] = value.decode()
        at = start + length
    return FileMeta(found.get(0x0002), found.get(0x0003), found.get(0x0010))


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Write preamble and group 0002 for a data set.

    By hand, since pydicom takes longer for it than for many a data set.
    """
    elements = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\0\1",
            _uid_element(0x0002, sop_class_uid),
            _uid_element(0x0003, sop_instance_uid),
            _uid_element(0x0010, transfer_syntax_uid),
            _uid_element(0x0012, PYDICOM_IMPLEMENTATION_UID),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements))
    return bytes(_PREAMBLE_BYTES) + b"DICM" + length + elements


def _uid_element(element: int, uid: str) -> bytes:
    value = uid.encode("latin-1")[:64]
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, b"UI", len(value)) + value
