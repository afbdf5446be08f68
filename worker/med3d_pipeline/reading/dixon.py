"""Which of the images of a Dixon acquisition a series holds: water and in-phase images are anatomy, the others not."""

from enum import StrEnum

from med3d_pipeline.reading.dicom_plane import SequenceFacts


class DixonPart(StrEnum):
    """What one acquisition with several echoes is parted into."""

    WATER = "water"
    IN_PHASE = "in-phase"
    OUT_OF_PHASE = "out-of-phase"
    FAT = "fat"


ANATOMY = frozenset({DixonPart.WATER, DixonPart.IN_PHASE})
_CODES = {
    DixonPart.WATER: frozenset({"W", "WATER", "W_FFE"}),
    DixonPart.IN_PHASE: frozenset({"IP", "IN_PHASE", "INPHASE"}),
    DixonPart.OUT_OF_PHASE: frozenset({"OP", "OPP_PHASE", "OUT_PHASE", "OUTPHASE", "OPPOSED_PHASE"}),
    DixonPart.FAT: frozenset({"F", "FAT", "F_FFE"}),
}
"""As Philips, Siemens and GE write them into ImageType."""


def dixon_part(facts: SequenceFacts) -> DixonPart | None:
    """Return the part by ImageType, else by the last word of the description; None for any other acquisition."""
    details = set(facts.image_type[2:])
    coded = next((part for part, codes in _CODES.items() if details & codes), None)
    if coded is not None:
        return coded
    return next((part for part in DixonPart if f"Dixon {part}" in facts.description_hints), None)
