"""What a file is, by its first bytes alone: names and declared types are the sender's word."""

import re
import struct
import zlib
from enum import StrEnum

HEAD_BYTES = 64 * 1024
"""Read enough of a file to tell what it is and, in DICOM, to find where group 0002 ends."""

MGH_HEADER_BYTES = 284
MGH_VOXEL_BYTES = {0: 1, 1: 4, 3: 4, 4: 2}  # uint8, int32, float32, int16

_PREAMBLE_BYTES = 128
_TAR_BLOCK = 512
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_OTHER_ARCHIVES = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"MSCF")


class Content(StrEnum):
    """The kinds of content that intake tells apart."""

    DICOM = "dicom"
    DICOM_GZ = "dicom_gz"
    NIFTI = "nifti"
    NIFTI_GZ = "nifti_gz"
    MGH = "mgh"
    MGH_GZ = "mgh_gz"
    ZIP = "zip"
    TAR = "tar"
    TAR_GZ = "tar_gz"
    OTHER_ARCHIVE = "other_archive"
    OTHER = "other"

    @property
    def is_archive(self) -> bool:
        """It holds files that intake unpacks."""
        return self in {Content.ZIP, Content.TAR, Content.TAR_GZ}


_GZIPPED = {
    Content.DICOM: Content.DICOM_GZ,
    Content.NIFTI: Content.NIFTI_GZ,
    Content.MGH: Content.MGH_GZ,
    Content.TAR: Content.TAR_GZ,
}


def sniff(head: bytes) -> Content:
    """Tell what a file is from its first HEAD_BYTES (or all of it, where it is shorter)."""
    if head.startswith(b"\x1f\x8b"):
        return _GZIPPED.get(sniff(_inflate_start(head)), Content.OTHER_ARCHIVE)
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"}:
        return Content.ZIP
    volume = _sniff_volume(head)
    if volume is not None:
        return volume
    if dataset_offset(head) is not None:
        return Content.DICOM
    if _is_tar(head):
        return Content.TAR
    return Content.OTHER_ARCHIVE if head.startswith(_OTHER_ARCHIVES) else Content.OTHER


def _sniff_volume(head: bytes) -> Content | None:
    if _is_nifti(head):
        return Content.NIFTI
    return Content.MGH if is_mgh(head) else None


def _inflate_start(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 1024)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    if head[344:348] == b"n+1\0":
        return head[:4] in {struct.pack("<i", 348), struct.pack(">i", 348)}
    return head[4:8] == b"n+2\0" and head[:4] in {struct.pack("<i", 540), struct.pack(">i", 540)}


def is_mgh(head: bytes) -> bool:
    """Tell FreeSurfer's volumes: version 1, plausible sizes, a known type of voxels (big endian)."""
    if len(head) < MGH_HEADER_BYTES:
        return False
    version, *sizes, kind = struct.unpack_from(">6i", head)
    return version == 1 and all(0 < size <= 4096 for size in sizes) and kind in MGH_VOXEL_BYTES


def _is_tar(head: bytes) -> bool:
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK:
        return False
    stated = re.match(rb" *([0-7]+)", block[148:156])
    return stated is not None and int(stated[1], 8) == sum(block[:148]) + sum(block[156:]) + 8 * 0x20


def dataset_offset(head: bytes) -> int | None:
    """Find where the data set starts, behind preamble and group 0002 (PS3.10 7.1); None where this is no DICOM.

    A file without preamble counts when it starts with an element of group 0002 or 0008. The offset may lie behind the
    end of ``head``.
    """
    if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM":
        return _behind_meta(head, _PREAMBLE_BYTES + 4)
    if re.match(rb"\x02\x00[\x00\x01\x02\x03\x10\x12\x13\x16]\x00[A-Z]{2}", head):
        return _behind_meta(head, 0)
    # (0008,xxxx) little endian: explicit VR letters, or an implicit length that is plausible for these elements
    if re.match(rb"\x08\x00[\x00\x01\x05\x08\x12-\x18]\x00([A-Z]{2}|..\x00\x00)", head, re.DOTALL) and len(head) > 32:
        return 0
    return None


def _behind_meta(head: bytes, start: int) -> int:
    """Read explicit VR little endian elements of group 0002; by its group length where it is there."""
    if head[start : start + 6] == b"\x02\x00\x00\x00UL" and len(head) >= start + 12:
        length: int = struct.unpack_from("<I", head, start + 8)[0]
        return start + 12 + length
    at = start
    while head[at : at + 2] == b"\x02\x00" and len(head) >= at + 12:
        if head[at + 4 : at + 6] in _LONG_VRS:
            at += 12 + struct.unpack_from("<I", head, at + 8)[0]
        else:
            at += 8 + struct.unpack_from("<H", head, at + 6)[0]
    return at
