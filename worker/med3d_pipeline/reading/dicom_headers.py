"""From a DICOM file's header to its image planes: classic and Enhanced (multi-frame) objects alike."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom.config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_partial
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from med3d_pipeline.reading import dicom_elements as element
from med3d_pipeline.reading.dicom_facts import GE_IMAGE_KIND, GE_PARAMETERS, KnownFacts, transfer_syntax
from med3d_pipeline.reading.dicom_files import (
    GZIP,
    HEAD_BYTES,
    PixelDataState,
    PixelDataWatch,
    looks_like_dicom,
    read_dicom,
)
from med3d_pipeline.reading.dicom_plane import PatientAttributes, Plane
from med3d_pipeline.reading.series_identity import MR_IMAGE_CLASSES

MAX_FRAMES = 20_000
DATE_CHARACTERS = 10
"""1999.01.31, as old files write it; minutes and seconds behind it would tell every slice apart."""

CONVERTED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
"""Where Legacy Converted Enhanced MR keeps what the classic images said and no functional group has a place for."""

FUNCTIONAL_GROUPS = (
    "FrameContentSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "MRImageFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence",
    "MREchoSequence",
    "MRModifierSequence",
    "MRDiffusionSequence",
    "MRMetaboliteMapSequence",
)

# fmt: off
HEADER_ATTRIBUTES = (
    "SpecificCharacterSet", "ImageType", "FrameType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate",
    "AcquisitionDate", "AcquisitionDateTime", "ContentDate", "Modality",
    "Manufacturer", "ManufacturerModelName", "SeriesDescription", "ProtocolName", "VolumeBasedCalculationTechnique",
    "ComplexImageComponent", "AcquisitionContrast", "PatientBirthDate", "PatientSex", "PatientAge",
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "ScanningSequence", "SequenceVariant", "ScanOptions",
    "MRAcquisitionType", "SequenceName", "PulseSequenceName", "AngioFlag", "SliceThickness", "RepetitionTime",
    "EchoTime", "InversionTime", "EchoNumbers", "MagneticFieldStrength", "EchoTrainLength", "FlipAngle",
    "EchoPulseSequence", "EchoPlanarPulseSequence", "TimeOfFlightContrast", "DiffusionBValue", "SeriesInstanceUID",
    "SeriesNumber", "AcquisitionNumber", "ImagePositionPatient", "ImageOrientationPatient",
    "TemporalPositionIdentifier", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DimensionIndexSequence", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "RescaleIntercept", "RescaleSlope", "PatientID",
    "DerivationDescription", "DerivationCodeSequence", "LossyImageCompression", "StudyInstanceUID", "InstanceNumber",
    "TriggerTime", "SpacingBetweenSlices", "BurnedInAnnotation", "FrameOfReferenceUID",
)
# fmt: on
"""What is read of a header outside functional groups; what is not here is absent to all that judge a series."""
_TAGS: list[int] = [
    *(tag for keyword in HEADER_ATTRIBUTES if (tag := tag_for_keyword(keyword)) is not None),
    GE_PARAMETERS,
    GE_IMAGE_KIND,
]


class NotAnImage(Exception):  # noqa: N818 - a finding about a file, not a fault
    """The file is no image: a directory, a report, a note, an archive."""


class UnreadableDicom(Exception):  # noqa: N818 - a finding about a file, not a fault
    """The file begins as DICOM but its header cannot be read."""


@contextmanager
def tolerant_reading() -> Iterator[None]:
    """Let pydicom read what scanners really write, and keep its complaints, which quote values, out of every log."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with pydicom.config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def read_planes(path: Path, known: KnownFacts | None = None) -> list[Plane]:
    """Read the image planes that one file announces, without its pixel data.

    known: facts of the files before, for the files of a study.
    Raises NotAnImage for anything but a DICOM image, UnreadableDicom for a DICOM file whose header is broken.
    """
    known = KnownFacts() if known is None else known
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head.startswith(GZIP):
            return _planes_of(path, *_inflated(path), known)
        file.seek(0)
        return _planes_of(path, file, path.stat().st_size, known)


def _inflated(path: Path) -> tuple[BinaryIO, int]:
    try:
        data = read_dicom(path)
    except (*element.MALFORMED, OSError) as error:
        raise UnreadableDicom from error
    return BytesIO(data), len(data)


def _planes_of(path: Path, file: BinaryIO, file_bytes: int, known: KnownFacts) -> list[Plane]:
    if not looks_like_dicom(file.read(HEAD_BYTES)):
        raise NotAnImage
    file.seek(0)
    try:
        dataset, state = _header(file, file_bytes)
        return _planes(path, dataset, state, known)
    except (*element.MALFORMED, MemoryError) as error:  # a length that the file only claims
        raise UnreadableDicom from error


def _header(file: BinaryIO, file_bytes: int) -> tuple[FileDataset, PixelDataState]:
    watch = PixelDataWatch()
    dataset = read_partial(file, stop_when=watch, force=True, specific_tags=list(_TAGS))
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise NotAnImage
    top: list[Dataset] = [dataset]
    if not element.text(top, "SOPClassUID", "Modality", "SeriesInstanceUID"):
        raise UnreadableDicom
    syntax = transfer_syntax(dataset)
    if syntax == DeflatedExplicitVRLittleEndian:  # pydicom has inflated the whole data set, so the file is complete
        state: PixelDataState = "whole" if watch.announced_bytes else "absent"
    else:
        state = watch.state(file, file_bytes, None if syntax.is_encapsulated else _native_pixel_bytes(top))
    if state == "absent" and element.whole(top, "Rows") is None:
        if element.text(top, "SOPClassUID") in MR_IMAGE_CLASSES:
            raise UnreadableDicom  # cut short before it says what it holds
        raise NotAnImage  # reports, presentation states, raw data, spectroscopy
    return dataset, state


def _native_pixel_bytes(top: Sequence[Dataset]) -> int:
    sizes = [element.whole(top, keyword) or 0 for keyword in ("Rows", "Columns", "BitsAllocated")]
    frames, samples = (element.whole(top, keyword) or 1 for keyword in ("NumberOfFrames", "SamplesPerPixel"))
    return sizes[0] * sizes[1] * sizes[2] // 8 * frames * samples


def _planes(path: Path, dataset: FileDataset, state: PixelDataState, known: KnownFacts) -> list[Plane]:
    top: list[Dataset] = [dataset]
    per_frame = element.items(top, "PerFrameFunctionalGroupsSequence")[:MAX_FRAMES]
    shared = [item for group in element.items(top, "SharedFunctionalGroupsSequence") for item in _macros(group)]
    converted = [
        item for group in element.items(top, "SharedFunctionalGroupsSequence") for item in _macros(group, CONVERTED)
    ]
    frames = element.whole(top, "NumberOfFrames") or 1
    chains = [
        [*_macros(groups), *shared, dataset, *_macros(groups, CONVERTED), *converted] for groups in per_frame
    ] or [[*shared, dataset, *converted]] * min(frames, MAX_FRAMES)
    if frames > 1 and not per_frame and "ImagePositionPatient" in dataset:
        del dataset.ImagePositionPatient  # of one frame, and nothing tells where the others lie
    patient = _patient(top)
    varying = _nonspatial_dimensions(top)
    return [
        _plane(path, chain, frame, max(frames, len(chains)), varying, patient, state, known)
        for frame, chain in enumerate(chains)
    ]


def _macros(groups: Dataset, keywords: Sequence[str] = FUNCTIONAL_GROUPS) -> list[Dataset]:
    return [item for keyword in keywords for item in element.items([groups], keyword)[:1]]


def _nonspatial_dimensions(top: Sequence[Dataset]) -> tuple[int, ...]:
    """Tell which of DimensionIndexValues tell volumes apart: all but stack, in-stack position and plane position."""
    spatial = {
        tag_for_keyword(keyword)
        for keyword in ("StackID", "InStackPositionNumber", "ImagePositionPatient", "ImageOrientationPatient")
    }
    pointers = [element.whole([item], "DimensionIndexPointer") for item in element.items(top, "DimensionIndexSequence")]
    return tuple(index for index, pointer in enumerate(pointers) if pointer not in spatial)


def _plane(
    path: Path,
    chain: Sequence[Dataset],
    frame: int,
    frames_in_file: int,
    varying: tuple[int, ...],
    patient: PatientAttributes,
    state: PixelDataState,
    known: KnownFacts,
) -> Plane:
    indices = element.codes(chain, "DimensionIndexValues")
    return Plane(
        path=path,
        uid=element.text(chain, "SOPInstanceUID"),
        series_uid=element.text(chain, "SeriesInstanceUID"),
        series_number=element.whole(chain, "SeriesNumber"),
        frame=frame,
        frames_in_file=frames_in_file,
        rows=element.whole(chain, "Rows") or 0,
        columns=element.whole(chain, "Columns") or 0,
        pixel_spacing_mm=element.numbers(chain, "PixelSpacing", count=2),
        orientation=element.numbers(chain, "ImageOrientationPatient", count=6),
        position_mm=element.numbers(chain, "ImagePositionPatient", count=3),
        rescale_slope=element.number(chain, "RescaleSlope") or 1.0,  # 0 would leave no image: some writers mean none
        rescale_intercept=element.number(chain, "RescaleIntercept") or 0.0,
        stack=element.text(chain, "StackID"),
        temporal=(
            element.text(chain, "TemporalPositionIndex", "TemporalPositionIdentifier"),
            element.text(chain, "FrameAcquisitionNumber", "AcquisitionNumber"),
            *(indices[index] for index in varying if index < len(indices)),
        ),
        pixel_data=state,
        facts=known.of(chain),
        patient=patient,
        trigger_ms=element.number(chain, "TriggerTime"),
        instance_number=element.whole(chain, "InstanceNumber"),
        study_uid=element.text(chain, "StudyInstanceUID"),
        frame_of_reference_uid=element.text(chain, "FrameOfReferenceUID"),
        person=_person(chain),
    )


def _patient(top: Sequence[Dataset]) -> PatientAttributes:
    return PatientAttributes(
        birth_date=element.text(top, "PatientBirthDate") or None,
        study_date=element.text(top, "StudyDate") or None,
        patient_age=element.text(top, "PatientAge") or None,
        sex=element.text(top, "PatientSex") or None,
        acquisition_date=element.text(top, "AcquisitionDate", "AcquisitionDateTime")[:DATE_CHARACTERS] or None,
        series_date=element.text(top, "SeriesDate") or None,
        content_date=element.text(top, "ContentDate") or None,
    )


def _person(chain: Sequence[Dataset]) -> str:
    """Digest PatientID as the service compares it (whatever its case): the identifier itself goes no further."""
    found = element.text(chain, "PatientID").casefold()
    return sha256(found.encode()).hexdigest() if found else ""
