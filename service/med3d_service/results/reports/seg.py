"""The brain mask as DICOM Segmentation (PS3.3 A.51), slice for slice on the images or frames that were read."""

from typing import Any

import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.uid import (
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    SegmentationStorage,
)
from pydicom.valuerep import format_number_as_ds

from med3d_service.results.reports import codes
from med3d_service.results.reports.dicom_objects import (
    MANUFACTURER,
    as_file,
    identify,
    patient_and_study,
    series_uid,
    study_of,
)
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.segmented import SegmentedBrain
from med3d_service.studies.own_objects import own_uid

SEG, LABEL = "seg", "BRAIN"
MANY_FRAMES = frozenset({EnhancedMRImageStorage, EnhancedMRColorImageStorage, LegacyConvertedEnhancedMRImageStorage})
DESCRIPTION = "Brain as it was found for the brain age"


class NoSegmentationError(Exception):
    """There is no mask of the run, or its slices lie in several images of many frames."""


def brain_segmentation(facts: ReportFacts) -> bytes:
    """Write the mask. Raises NoDicomStudyError, NoSegmentationError."""
    study_of(facts)
    if facts.segmented is None or facts.source is None:
        raise NoSegmentationError
    many_frames = facts.source.sop_class_uid in MANY_FRAMES
    if len(set(facts.segmented.instance_uids)) != (1 if many_frames else len(facts.segmented.instance_uids)):
        raise NoSegmentationError
    made = Segmentation(
        source_images=[_image(facts, facts.segmented)] if many_frames else _images(facts, facts.segmented),
        pixel_array=facts.segmented.voxels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(facts)],
        series_instance_uid=series_uid(facts.run_id, SEG),
        series_number=1,
        sop_instance_uid=own_uid(facts.run_id, SEG),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=facts.bundle.name,
        software_versions=facts.bundle.version,
        device_serial_number=facts.bundle.digest[:16],
        content_label=LABEL,
        content_description=DESCRIPTION,
        pixel_measures=_measures(facts.segmented),
    )
    identify(made, facts, SEG, SegmentationStorage, "SEG")
    if many_frames:
        _name_frames(made, facts.segmented.frame_numbers)
    _name_dimensions(made, own_uid(facts.run_id, SEG, "dimensions"))
    return as_file(made)


def _segment(facts: ReportFacts) -> SegmentDescription:
    algorithm = AlgorithmIdentificationSequence(
        name=facts.bundle.name, family=codes.ARTIFICIAL_INTELLIGENCE, version=facts.bundle.version
    )
    return SegmentDescription(
        segment_number=1,
        segment_label="Brain",
        segmented_property_category=codes.ANATOMICAL_STRUCTURE,
        segmented_property_type=codes.BRAIN,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=own_uid(facts.run_id, SEG, "tracking"),
        tracking_id=f"brain of run {facts.run_id}",
    )


def _images(facts: ReportFacts, brain: SegmentedBrain) -> list[Dataset]:
    """Return the data sets that stand for the images: patient, study, and where each slice lies."""
    across_mm, down_mm, step_mm = _sides_mm(brain)
    shared = _of_series(facts, brain)
    shared.PixelSpacing, shared.SliceThickness = [_ds(down_mm), _ds(across_mm)], _ds(step_mm)
    shared.ImageOrientationPatient = _orientation(brain)
    images = []
    for uid, position in zip(brain.instance_uids, _positions(brain), strict=True):
        image = Dataset()
        image.update(shared)
        image.SOPInstanceUID, image.ImagePositionPatient = uid, position
        images.append(image)
    return images


def _image(facts: ReportFacts, brain: SegmentedBrain) -> Dataset:
    """Return a data set for the frames of one image: those that were read, in the order of the slices."""
    image, shared = _of_series(facts, brain), Dataset()
    image.SOPInstanceUID, image.NumberOfFrames = brain.instance_uids[0], len(brain.frame_numbers)
    shared.PixelMeasuresSequence = _measures(brain)
    shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", [float(one) for one in _orientation(brain)])
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = []
    for position in _positions(brain):
        frame = Dataset()
        frame.PlanePositionSequence = PlanePositionSequence("PATIENT", [float(one) for one in position])
        image.PerFrameFunctionalGroupsSequence.append(frame)
    return image


def _name_frames(made: Dataset, numbers: tuple[int, ...]) -> None:
    """Give the frames the numbers that they have in the image itself, of which others may not have been read."""
    for frame in made.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for source in derivation.SourceImageSequence:
                source.ReferencedFrameNumber = numbers[int(source.ReferencedFrameNumber) - 1]


def _of_series(facts: ReportFacts, brain: SegmentedBrain) -> Dataset:
    """Return what is the same in all images: patient, study, series, and their size."""
    assert facts.source is not None
    made = patient_and_study(facts)
    made.SOPClassUID, made.SeriesInstanceUID = facts.source.sop_class_uid, facts.source.series_uid
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = brain.frame_of_reference_uid, ""
    made.Rows, made.Columns = brain.voxels.shape[1:]
    return made


def _orientation(brain: SegmentedBrain) -> list[str]:
    axes = (brain.affine[:3, axis] for axis in range(2))
    return [_ds(value) for axis in axes for value in axis / np.linalg.norm(axis)]


def _positions(brain: SegmentedBrain) -> list[list[str]]:
    """Tell where each slice's first pixel lies, mm."""
    first, step = brain.affine[:3, 3], brain.affine[:3, 2]
    return [[_ds(value) for value in first + place * step] for place in range(len(brain.voxels))]


def _sides_mm(brain: SegmentedBrain) -> tuple[float, float, float]:
    """Return lengths of a voxel along rows, columns and slices."""
    across, down, step = (float(np.linalg.norm(brain.affine[:3, axis])) for axis in range(3))
    return across, down, step


def _measures(brain: SegmentedBrain) -> PixelMeasuresSequence:
    across_mm, down_mm, step_mm = (float(_ds(side)) for side in _sides_mm(brain))
    return PixelMeasuresSequence(
        pixel_spacing=[down_mm, across_mm], slice_thickness=step_mm, spacing_between_slices=step_mm
    )


def _ds(value: float | np.floating[Any]) -> str:
    return format_number_as_ds(round(float(value), 9) + 0.0)


def _name_dimensions(made: Dataset, uid: str) -> None:
    """Made again, the object is the same: highdicom draws this UID."""
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
