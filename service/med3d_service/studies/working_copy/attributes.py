"""The allow-list: which DICOM attributes go into the working copy, and by which rule. What is not here is left out.

After PS3.15 Annex E (basic profile, with the options Retain Patient Characteristics for sex alone and Retain Device
Identity cut down to known words), stricter: texts go through closed vocabularies, dates and private elements go.
"""

import functools
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from med3d_service.studies.working_copy.vocabulary import (
    CODES,
    DERIVATION_CODES,
    MANUFACTURERS,
    MODELS,
    known_agent,
    known_derivation,
    known_description,
    known_sequence,
    known_words,
    option_stem,
)


class Rule(Enum):
    """What happens to a value."""

    NUMBER = auto()  # stays if it is a number
    CODE = auto()  # known codes stay, others become stand-ins
    OPTION = auto()  # the same, and of others the stem that has a meaning
    UID = auto()  # becomes a stand-in
    CLASS_UID = auto()  # stays if DICOM defines it
    SEX = auto()  # stays if F, M or O
    MANUFACTURER = auto()  # known words stay
    MODEL = auto()
    DESCRIPTION = auto()
    DERIVATION = auto()
    CODE_VALUE = auto()  # stays if it is one of the standard's codes for how images are derived
    SEQUENCE_NAME = auto()
    AGENT = auto()
    ITEMS = auto()  # a sequence: its items by these same rules
    EMPTY_ITEM = auto()  # a sequence of which only the presence matters
    GE_CREATOR = auto()  # GE says only in a private element whether an image is magnitude, phase, real or imaginary
    GE_IMAGE_KIND = auto()


_KEYWORDS = {
    Rule.NUMBER: """
        Rows Columns NumberOfFrames SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation
        PlanarConfiguration PixelSpacing SliceThickness SpacingBetweenSlices ImagePositionPatient
        ImageOrientationPatient SliceLocation RescaleSlope RescaleIntercept WindowCenter WindowWidth PixelAspectRatio
        RepetitionTime EchoTime EffectiveEchoTime InversionTime InversionTimes FlipAngle EchoTrainLength
        RFEchoTrainLength GradientEchoTrainLength EchoNumbers NumberOfAverages MagneticFieldStrength ImagingFrequency
        PercentSampling PercentPhaseFieldOfView PixelBandwidth NumberOfPhaseEncodingSteps AcquisitionMatrix
        ReconstructionDiameter DiffusionBValue DiffusionGradientOrientation ParallelReductionFactorInPlane
        TemporalPositionIdentifier TemporalPositionIndex NumberOfTemporalPositions InStackPositionNumber
        DimensionIndexValues DimensionIndexPointer FunctionalGroupPointer FrameAcquisitionNumber AcquisitionNumber
        SeriesNumber InstanceNumber GantryDetectorTilt TriggerTime PixelPaddingValue PixelPaddingRangeLimit
    """,
    Rule.CODE: """
        ImageType FrameType Modality ScanningSequence SequenceVariant MRAcquisitionType AngioFlag
        PhotometricInterpretation BodyPartExamined PatientPosition InPlanePhaseEncodingDirection RescaleType
        PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique ComplexImageComponent
        AcquisitionContrast EchoPulseSequence EchoPlanarPulseSequence InversionRecovery TimeOfFlightContrast
        SteadyStatePulseSequence Spoiling MultipleSpinEcho MultiPlanarExcitation PhaseContrast SegmentedKSpaceTraversal
        GeometryOfKSpaceTraversal RectilinearPhaseEncodeReordering DiffusionDirectionality DimensionOrganizationType
        LossyImageCompression StackID ResonantNucleus BurnedInAnnotation
    """,
    Rule.OPTION: "ScanOptions",
    Rule.UID: "StudyInstanceUID SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID",
    Rule.CLASS_UID: "SOPClassUID",
    Rule.SEX: "PatientSex",
    Rule.MANUFACTURER: "Manufacturer",
    Rule.MODEL: "ManufacturerModelName",
    Rule.DESCRIPTION: "SeriesDescription ProtocolName",
    Rule.DERIVATION: "DerivationDescription",
    Rule.CODE_VALUE: "CodeValue",
    Rule.SEQUENCE_NAME: "SequenceName PulseSequenceName",
    Rule.AGENT: "ContrastBolusAgent",
    Rule.ITEMS: """
        SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence FrameContentSequence PlanePositionSequence
        PlaneOrientationSequence PixelMeasuresSequence PixelValueTransformationSequence MRImageFrameTypeSequence
        MRTimingAndRelatedParametersSequence MREchoSequence MRModifierSequence MRImagingModifierSequence
        MRDiffusionSequence DiffusionGradientDirectionSequence MRFOVGeometrySequence MRAveragesSequence
        FrameVOILUTSequence DimensionIndexSequence UnassignedSharedConvertedAttributesSequence
        UnassignedPerFrameConvertedAttributesSequence DerivationCodeSequence
    """,
    Rule.EMPTY_ITEM: "ContrastBolusAgentSequence MRMetaboliteMapSequence",
}


def tag_of(keyword: str) -> int:
    """Return the tag of a DICOM keyword. Raises LookupError."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(keyword)
    return tag


RULES: dict[int, Rule] = {tag_of(keyword): rule for rule, words in _KEYWORDS.items() for keyword in words.split()} | {
    0x00430010: Rule.GE_CREATOR,
    0x0043102F: Rule.GE_IMAGE_KIND,
}
"""By tag, as an integer."""

MAX_BINARY_BYTES = 256
_NUMBER_TEXT = re.compile(rb"[0-9+\-.eE\\ \x00]{0,512}")
_SIGNED_OR_NOT = "US or SS"  # as the pixels are; the dictionary leaves it open, and the two bytes are the same
_BYTES_OF = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4}
"""Of one binary number."""
LONGEST_UNJUDGED = 4
"""Bytes of binary numbers that may be anything: no name is so short."""
_LEAST_DOUBLE, _MOST_DOUBLE = 1e-29, 4e5
"""Letters, digits and blanks that stand where a double is due are all beyond these."""
MALFORMED = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on bytes that only look like DICOM."""
MALFORMED_BYTES = (*MALFORMED, OSError)
"""The same of bytes in memory, where no disk can be at fault: pydicom raises OSError for a sequence that ends early."""


def keep(dataset: Dataset, kept: Dataset, tag: BaseTag, pseudonyms: Pseudonyms) -> None:
    """Put what its rule leaves of one element of ``dataset`` into ``kept``; a malformed value counts as absent."""
    rule = RULES[tag]
    if rule is Rule.NUMBER:
        _keep_number(dataset, kept, tag)
        return
    try:
        value = dataset[tag].value
        if rule is Rule.ITEMS:
            kept.add_new(tag, "SQ", Sequence(_item(item, pseudonyms) for item in value))
        elif rule is Rule.EMPTY_ITEM:
            if len(value):
                kept.add_new(tag, "SQ", Sequence([Dataset()]))
        elif rule is Rule.GE_CREATOR:
            if value == "GEMS_PARM_01":
                kept.add_new(tag, "LO", value)
        elif rule is Rule.GE_IMAGE_KIND:
            if 0 <= int(value) <= 3:
                kept.add_new(tag, "SS", int(value))
        else:
            _keep_text(value, kept, tag, rule, pseudonyms)
    except MALFORMED_BYTES:
        return


def _item(item: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    kept = Dataset()
    for tag in item.keys() & RULES.keys():
        keep(item, kept, Tag(tag), pseudonyms)
    return kept


def _keep_text(value: Any, kept: Dataset, tag: BaseTag, rule: Rule, pseudonyms: Pseudonyms) -> None:
    parts = list(value) if isinstance(value, MultiValue | list) else [value or ""]
    cleaned = [_TEXT_RULES[rule](str(part).strip(), pseudonyms) for part in parts]
    if any(cleaned):
        kept.add_new(tag, dictionary_VR(tag), cleaned if len(cleaned) > 1 else cleaned[0])


def _keep_number(dataset: Dataset, kept: Dataset, tag: BaseTag) -> None:
    """Numbers stay as they were written, unless a text hides where a number is due."""
    vr = dictionary_VR(tag)
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement):
        several = len(raw.value) if raw is not None and isinstance(raw.value, MultiValue | list) else 1
        if (
            raw is not None
            and several <= _most_values(tag)
            and _NUMBER_TEXT.fullmatch(re.sub(r"[\[\],']", "", str(raw.value)).encode())
        ):
            kept.add(raw)
        return
    value = raw.value or b""
    if vr == _SIGNED_OR_NOT:
        vr = raw.VR if raw.VR in {"US", "SS"} else "US"
        fits = raw.VR in {None, vr} and len(value) == 2
    elif vr in _BYTES_OF:
        fits = raw.VR in {None, vr} and _are_numbers(
            value, vr, _most_values(tag), order="<" if raw.is_little_endian else ">"
        )
    else:
        fits = raw.VR in {None, vr, "UN"} and _NUMBER_TEXT.fullmatch(value) is not None
    if fits and value:
        kept[tag] = raw if raw.VR in {None, vr} else raw._replace(VR=vr)


def _are_numbers(value: bytes, vr: str, most: int, *, order: str) -> bool:
    """Say whether binary values are as many as the standard allows, and not a text in their place."""
    count, rest = divmod(len(value), _BYTES_OF[vr])
    if rest or count > most or len(value) > MAX_BINARY_BYTES:
        return False
    if vr == "FD":
        doubles = struct.unpack(f"{order}{count}d", value)
        return all(one == 0 or _LEAST_DOUBLE <= abs(one) <= _MOST_DOUBLE for one in doubles)
    return len(value) <= LONGEST_UNJUDGED or min(value) < ord(" ")


@functools.cache
def _most_values(tag: int) -> int:
    """Tell how many values an element may have, by the dictionary (PS3.6)."""
    *_, most = dictionary_VM(tag).split("-")
    return int(most) if most.isdecimal() else MAX_BINARY_BYTES


def _code(text: str, pseudonyms: Pseudonyms) -> str:
    if not text:
        return ""
    known = all(_is_code(word) for word in text.casefold().split()) or re.fullmatch(r"\d{1,4}", text, re.ASCII)
    return text if known else pseudonyms.code(text)


def _is_code(word: str) -> bool:
    return word in CODES or ("_" in word and all(part in CODES for part in word.split("_")))


def _option(text: str, pseudonyms: Pseudonyms) -> str:
    kept = _code(text, pseudonyms)
    return kept if kept == text else option_stem(text) or kept


_TEXT_RULES: Mapping[Rule, Callable[[str, Pseudonyms], str]] = {
    Rule.CODE: _code,
    Rule.OPTION: _option,
    Rule.UID: lambda text, pseudonyms: pseudonyms.uid(text) if text else "",
    Rule.CLASS_UID: lambda text, pseudonyms: pseudonyms.class_uid(text),
    Rule.SEX: lambda text, _: text.upper() if text.upper() in {"F", "M", "O"} else "",
    Rule.MANUFACTURER: lambda text, _: known_words(text, MANUFACTURERS),
    Rule.MODEL: lambda text, _: known_words(text, MODELS),
    Rule.DESCRIPTION: lambda text, _: known_description(text),
    Rule.DERIVATION: lambda text, _: known_derivation(text),
    Rule.CODE_VALUE: lambda text, _: text if text in DERIVATION_CODES else "",
    Rule.SEQUENCE_NAME: lambda text, _: known_sequence(text),
    Rule.AGENT: lambda text, _: known_agent(text),
}
