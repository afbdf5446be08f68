"""Files that hold an image of a kind that is not read here: named, so that the sender knows what to send instead."""

from collections.abc import Sequence
from pathlib import Path

_FROM_SCANNER = "Send the scanner's DICOM images, or NIfTI (.nii.gz)"
_UNPACK = "Unpack it and send what it holds"
_BY_START: tuple[tuple[bytes, str, str], ...] = (
    (b"NRRD", "an NRRD image (.nrrd, .nhdr)", _FROM_SCANNER),
    (b"ObjectType = Image", "a MetaImage (.mha, .mhd)", _FROM_SCANNER),
    (b"\x28\xb5\x2f\xfd", "a file packed with Zstandard (.zst)", _UNPACK),
    (b"BZh", "a file packed with bzip2 (.bz2)", _UNPACK),
    (b"\xfd7zXZ\x00", "a file packed with xz (.xz)", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (.7z)", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive (.rar)", _UNPACK),
    (b"PK\x03\x04", "a zip archive inside the input", _UNPACK),
    (b"/annex/objects/", "a placeholder of git-annex in place of the image", "Fetch the content (git annex get)"),
    (
        b"../.git/annex/objects/",
        "a placeholder of git-annex in place of the image",
        "Fetch the content (git annex get)",
    ),
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
_BY_NAME: dict[str, tuple[str, str]] = {
    ".nrrd": ("an NRRD image (.nrrd, .nhdr)", _FROM_SCANNER),
    ".nhdr": ("an NRRD image (.nrrd, .nhdr)", _FROM_SCANNER),
    ".mha": ("a MetaImage (.mha, .mhd)", _FROM_SCANNER),
    ".mhd": ("a MetaImage (.mha, .mhd)", _FROM_SCANNER),
    ".mnc": ("a MINC image (.mnc)", _FROM_SCANNER),
    ".par": ("a Philips PAR/REC pair", _FROM_SCANNER),
    ".brik": ("an AFNI image (.BRIK and .HEAD)", _FROM_SCANNER),
    ".mif": ("an MRtrix image (.mif)", _FROM_SCANNER),
    ".bmp": ("a picture (.bmp)", _FROM_SCANNER),
    ".zst": ("a file packed with Zstandard (.zst)", _UNPACK),
}
_ANALYZE_BYTES = 348
_ONE_FILE = b"n+1"
_HALF_A_PAIR = ("an .img file without its header, half of an Analyze or NIfTI pair", _FROM_SCANNER)
_ANNEX = "annex/objects/"
ONLY_A_LIST = (
    "The input holds a DICOMDIR and none of its images: it only lists the files of a disc. "
    "Send the whole disc, with its folders."
)


def unread_format(path: Path, head: bytes) -> str | None:
    """Say in a sentence or two what a file is that is no image here, and what to send instead; None for mere clutter.

    ``head``: the first bytes, inflated where the file is gzipped.
    """
    return ONLY_A_LIST if path.name.upper() == "DICOMDIR" else _sentence(_seen(path, head))


def dangling_link(path: Path) -> str:
    """Say of a link to nothing what it stands for, and what to do."""
    if _ANNEX in path.readlink().as_posix():
        return _said("a placeholder of git-annex in place of the image", "Fetch the content (git annex get)")
    return _said("a link to a file that is not there", "Send the file that it stands for")


def most_telling(sentences: Sequence[str]) -> str:
    """Return the first sentence that names an image by itself: not a list of files, nor half of a pair."""
    return min(sentences, key=(ONLY_A_LIST, _said(*_HALF_A_PAIR)).__contains__)


def _said(what: str, instead: str) -> str:
    return f"The input holds {what}, which cannot be read here. {instead}."


def _sentence(seen: tuple[str, str] | None) -> str | None:
    return None if seen is None else _said(*seen)


def _seen(path: Path, head: bytes) -> tuple[str, str] | None:
    for start, what, instead in _BY_START:
        if head.startswith(start):
            return what, instead
    if _is_pair_header(head):
        if head[344:347] == b"ni1":
            return "a NIfTI image in two files (.hdr and .img)", "Send it as one file (.nii or .nii.gz)"
        return (
            "an Analyze image (.hdr and .img; it does not say which side is left)",
            "Send the scanner's DICOM images, or NIfTI (.nii.gz) converted from them",
        )
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return _HALF_A_PAIR if suffix == ".img" else _BY_NAME.get(suffix)


def _is_pair_header(head: bytes) -> bool:
    size = head[:4]
    if head[344:347] == _ONE_FILE:
        return False  # a NIfTI image whose header is damaged
    return len(head) >= _ANALYZE_BYTES and _ANALYZE_BYTES in (
        int.from_bytes(size, "little"),
        int.from_bytes(size, "big"),
    )
