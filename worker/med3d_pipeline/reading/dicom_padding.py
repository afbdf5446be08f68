"""Which stored pixel values are padding: PixelPaddingValue and PixelPaddingRangeLimit (DICOM PS3.3 C.7.5.1.1.2)."""

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from med3d_pipeline.reading import dicom_elements as element

PIXEL_PADDING_VALUE = 0x00280120
PIXEL_PADDING_RANGE_LIMIT = 0x00280121


def stored_padding(dataset: Dataset) -> tuple[int, int] | None:
    """Return the lowest and the highest stored value that is padding, or None where nothing is.

    Both elements are as signed as the pixels (PixelRepresentation), whatever VR a writer gave them: their two bytes
    are read anew, so that -2000 written as 63536 is found in signed pixels, too.
    """
    signed = element.whole([dataset], "PixelRepresentation") == 1
    value = _stored(dataset, PIXEL_PADDING_VALUE, signed=signed)
    if value is None:
        return None
    limit = _stored(dataset, PIXEL_PADDING_RANGE_LIMIT, signed=signed)
    limit = value if limit is None else limit
    return (min(value, limit), max(value, limit))


def _stored(dataset: Dataset, tag: int, *, signed: bool) -> int | None:
    found = dataset.get_item(tag)
    if found is None:
        return None
    value = found.value
    if isinstance(value, bytes):
        little = found.is_little_endian if isinstance(found, RawDataElement) else True
        if len(value) != 2:
            return None
        return int.from_bytes(value, "little" if little else "big", signed=signed)
    if not isinstance(value, int):
        return None
    return int.from_bytes((value & 0xFFFF).to_bytes(2, "little"), "little", signed=signed)
