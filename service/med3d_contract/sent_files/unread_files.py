"""Why a file that was sent is read by nobody, by its first bytes and its name, in the words of `med3d analyse`.

The rules stand in med3d_pipeline.reading.volume_files, too, which imports nothing of ours: a test holds both together.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from med3d_contract.sent_files.volume_names import VOLUME_SUFFIXES

_FROM_SCANNER = "Send the scanner's DICOM images, or NIfTI (.nii.gz)"
_UNPACK = "Unpack it and send what it holds"
_FETCH = "Fetch the content (git annex get)"
_ANNEX = "a placeholder of git-annex in place of the image"
_BY_START: tuple[tuple[bytes, str, str], ...] = (
    (b"NRRD", "an NRRD image (.nrrd, .nhdr)", _FROM_SCANNER),
    (b"ObjectType = Image", "a MetaImage (.mha, .mhd)", _FROM_SCANNER),
    (b"\x28\xb5\x2f\xfd", "a file packed with Zstandard (.zst)", _UNPACK),
    (b"BZh", "a file packed with bzip2 (.bz2)", _UNPACK),
    (b"\xfd7zXZ\x00", "a file packed with xz (.xz)", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (.7z)", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive (.rar)", _UNPACK),
    (b"PK\x03\x04", "a zip archive inside the input", _UNPACK),
    (b"/annex/objects/", _ANNEX, _FETCH),
    (b"../.git/annex/objects/", _ANNEX, _FETCH),
    (b"version https://git-lfs", "a placeholder of Git LFS in place of the image", "Fetch the content (git lfs pull)"),
    (b"mrtrix image", "an MRtrix image (.mif)", _FROM_SCANNER),
    (b"\x93NUMPY", "an array of numbers without a place (.npy)", _FROM_SCANNER),
    (b"\x89PNG", "a picture (.png)", _FROM_SCANNER),
    (b"\xff\xd8\xff", "a picture (.jpg)", _FROM_SCANNER),
    (b"GIF8", "a picture (.gif)", _FROM_SCANNER),
    (b"II*\0", "a picture (.tif)", _FROM_SCANNER),
    (b"MM\0*", "a picture (.tif)", _FROM_SCANNER),
    (b"\0\0\0\x0cjP  ", "a picture (.jp2)", _FROM_SCANNER),
    (b"\x1f\x9d", "a file packed with compress (.Z)", _UNPACK),
    (b"\x04\x22\x4d\x18", "a file packed with LZ4 (.lz4)", _UNPACK),
)
_PAIR = ("a NIfTI image in two files (.hdr and .img)", "Send it as one file (.nii or .nii.gz)")
_ANALYZE = (
    "an Analyze image (.hdr and .img; it does not say which side is left)",
    "Send the scanner's DICOM images, or NIfTI (.nii.gz) converted from them",
)
_HALF_A_PAIR = ("an .img file without its header, half of an Analyze or NIfTI pair", _FROM_SCANNER)
_BY_NAME: dict[str, tuple[str, str]] = {
    ".nrrd": _BY_START[0][1:],
    ".nhdr": _BY_START[0][1:],
    ".mha": _BY_START[1][1:],
    ".mhd": _BY_START[1][1:],
    ".mnc": ("a MINC image (.mnc)", _FROM_SCANNER),
    ".par": ("a Philips PAR/REC pair", _FROM_SCANNER),
    ".brik": ("an AFNI image (.BRIK and .HEAD)", _FROM_SCANNER),
    ".zst": _BY_START[2][1:],
    ".mif": ("an MRtrix image (.mif)", _FROM_SCANNER),
    ".bmp": ("a picture (.bmp)", _FROM_SCANNER),
    ".img": _HALF_A_PAIR,
}
UNREAD_SUFFIXES = tuple(_BY_NAME)
"""Endings of names that tell what a file is, where its first bytes do not."""
_ANALYZE_BYTES = 348
_LOOKED_AT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Unread:
    """A refusal's code, and its sentences: what was seen and what to send instead."""

    code: str
    seen: str
    instead: str

    @property
    def reason(self) -> str:
        """Both sentences."""
        return f"{self.seen} {self.instead}"


NO_IMAGES = Unread("no_images", "Nothing in the input is a DICOM or NIfTI image.", "Send a T1-weighted head scan.")
_IN_TURN = ("nifti_unreadable", "unsupported_format", "no_images")


def why_unread(name: str, head: bytes) -> Unread:
    """Say why a file that holds no image which is read is none; NO_IMAGES for what is no image at all.

    ``head``: its first bytes, as they are.
    """
    is_volume = name.lower().endswith(VOLUME_SUFFIXES)
    code = "nifti_unreadable" if is_volume else "unsupported_format"
    seen = _seen(name.lower(), _inflated(head))
    if seen is not None:
        return Unread(code, f"The input holds {seen[0]}, which cannot be read here.", f"{seen[1]}.")
    if not is_volume:
        return NO_IMAGES
    what = "The file is no readable NIfTI image." if head else "The file is empty (0 bytes)."
    return Unread(code, what, "Send an intact .nii or .nii.gz.")


def why_nowhere(link: Path) -> Unread:
    """Say of a link to nothing what it stands for, and what to do."""
    if "annex/objects/" in link.readlink().as_posix():
        return Unread("unsupported_format", f"The input holds {_ANNEX}, which cannot be read here.", f"{_FETCH}.")
    what = "The input holds a link to a file that is not there, which cannot be read here."
    return Unread("unsupported_format", what, "Send the file that it stands for.")


def of_nothing_read(found: Sequence[Unread]) -> Unread:
    """Choose what is told of an input in which nothing was read; an .img without its header only for want of others."""
    half = f"The input holds {_HALF_A_PAIR[0]}"
    return min(found, key=lambda one: (_IN_TURN.index(one.code), one.seen.startswith(half)), default=NO_IMAGES)


def _inflated(head: bytes) -> bytes:
    if not head.startswith(b"\x1f\x8b"):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _LOOKED_AT_BYTES)
    except zlib.error:
        return b""


def _seen(name: str, head: bytes) -> tuple[str, str] | None:
    for start, what, instead in _BY_START:
        if head.startswith(start):
            return what, instead
    sizes = (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    is_one_file = head[344:347] == b"n+1"  # a NIfTI image whose header is damaged
    if len(head) >= _ANALYZE_BYTES and _ANALYZE_BYTES in sizes and not is_one_file:
        return _PAIR if head[344:347] == b"ni1" else _ANALYZE
    unpacked = name.removesuffix(".gz")
    return next((told for suffix, told in _BY_NAME.items() if unpacked.endswith(suffix)), None)
