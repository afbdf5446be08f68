"""Text that an image may show: names and dates are burnt into screenshots, and lie in overlays and in unused bits.

A working copy holds the pixels of MR images alone, for nothing else can be analysed. Of other images, and of those that
say of themselves that text is burnt in, the header is copied without its pixels: a refusal can say what they are.
"""

import struct
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from med3d_service.studies.working_copy.attributes import MALFORMED_BYTES

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SHOWN_CLASSES = frozenset({MR_IMAGE, f"{MR_IMAGE}.1", f"{MR_IMAGE}.3", f"{MR_IMAGE}.4"})
"""Classic, Enhanced, Enhanced in colour, Legacy Converted Enhanced: what med3d_pipeline takes as MR."""
SCREENSHOTS = frozenset({"SCREEN SAVE", "SCREEN_SAVE", "SCREENSAVE", "SCREENSHOT", "SCREEN SHOT"})
OVERLAY_BITS = tuple(0x60000102 + (group << 16) for group in range(0, 0x20, 2))
"""OverlayBitPosition of the 16 groups of overlays; a plane of 60xx,3000 is no element that is kept."""
READ_TAGS = (0x00280301, *OVERLAY_BITS)


def may_show_text(dataset: Dataset, class_uid: str) -> bool:
    """Say whether the pixels stay behind: class and modality must be MR as far as they are told."""
    if class_uid not in SHOWN_CLASSES | {""} or _text(dataset, "Modality") not in {"MR", ""}:
        return True
    if _text(dataset, "BurnedInAnnotation") == "YES":
        return True
    return bool(SCREENSHOTS & {word.strip() for word in _text(dataset, "ImageType").split("\\")})


def without_overlays(dataset: Dataset, pixels: bytes, header_bytes: int, *, little: bool) -> bytes:
    """Clear the bits of native pixel data that hold overlays (retired in DICOM 2004, and still written).

    ``pixels`` is the whole element, whose first ``header_bytes`` are tag, VR and length. It stays behind as a whole
    where it cannot be told which bits are meant, or the pixels are compressed.
    """
    try:
        positions = set(_overlay_positions(dataset))
        allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
        highest = int(dataset.get("HighBit", stored - 1))
        unused = {position for position in positions if not highest - stored < position <= highest}
        if not unused:
            return pixels
        if allocated not in {8, 16, 32} or max(unused) >= allocated or _is_compressed(pixels, header_bytes):
            return b""
    except MALFORMED_BYTES:
        return b""
    kept = (1 << allocated) - 1 - sum(1 << position for position in unused)
    mask = kept.to_bytes(allocated // 8, "little" if little else "big")
    values = pixels[header_bytes:]
    masks = (mask * (len(values) // len(mask) + 1))[: len(values)]
    masked = int.from_bytes(values, "little") & int.from_bytes(masks, "little")
    return pixels[:header_bytes] + masked.to_bytes(len(values), "little")


def without_rest(dataset: Dataset, pixels: bytes, header_bytes: int) -> bytes:
    """Clear what native pixel data hold behind the last pixel: nobody reads it, and it may be a text.

    Its length stays, so that whoever judges lengths finds what was sent. Of an image without a size nothing is a pixel.
    """
    try:
        bits = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated)
    except MALFORMED_BYTES:
        return b""
    bits *= _count(dataset, "SamplesPerPixel") * _count(dataset, "NumberOfFrames")
    end = header_bytes + -(-bits // 8)
    return pixels if end >= len(pixels) else pixels[:end] + bytes(len(pixels) - end)


def _count(dataset: Dataset, keyword: str) -> int:
    """Read how many there are; one, as for whoever decodes the copy, where that is not told or is no number."""
    try:
        return max(int(dataset.get(keyword) or 1), 1)
    except MALFORMED_BYTES:
        return 1


def _overlay_positions(dataset: Dataset) -> Iterator[int]:
    for tag in OVERLAY_BITS:
        if tag in dataset:
            yield int(dataset[tag].value)


def _is_compressed(pixels: bytes, header_bytes: int) -> bool:
    return header_bytes >= 8 and struct.unpack_from("<L", pixels, header_bytes - 4)[0] == 0xFFFFFFFF


def _text(dataset: Dataset, keyword: str) -> str:
    """Return a coded value in upper case, several behind each other as DICOM writes them."""
    try:
        value = dataset.get(keyword, "") or ""
        return ("\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)).upper().strip()
    except MALFORMED_BYTES:
        return ""
