"""The brain mask as DICOM Segmentation (PS3.3 A.51), slice for slice on the images that were read."""

from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.uid import SegmentationStorage
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
DESCRIPTION = "Brain as it was found for the brain age"


class NoSegmentationError(Exception):
    """There is no mask of the run, or its images are not one a slice."""


def brain_segmentation(facts: ReportFacts) -> bytes:
    """Write the mask. Raises NoDicomStudyError, NoSegmentationError."""
    study_of(facts)
    if facts.segmented is None or facts.source is None:
        raise NoSegmentationError
    made = Segmentation(
        source_images=_images(facts, facts.segmented),
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
    """Data sets that stand for the images: patient, study, and where each slice lies."""
    assert facts.source is not None
    across, down, step = (brain.affine[:3, axis] for axis in range(3))
    shared = patient_and_study(facts)
    shared.SOPClassUID, shared.SeriesInstanceUID = facts.source.sop_class_uid, facts.source.series_uid
    shared.FrameOfReferenceUID, shared.PositionReferenceIndicator = brain.frame_of_reference_uid, ""
    shared.Rows, shared.Columns = brain.voxels.shape[1:]
    shared.PixelSpacing = [_ds(np.linalg.norm(down)), _ds(np.linalg.norm(across))]
    shared.SliceThickness = _ds(np.linalg.norm(step))
    shared.ImageOrientationPatient = [_ds(value) for axis in (across, down) for value in axis / np.linalg.norm(axis)]
    images = []
    for place, uid in enumerate(brain.instance_uids):
        image = Dataset()
        image.update(shared)
        image.SOPInstanceUID = uid
        image.ImagePositionPatient = [_ds(value) for value in brain.affine[:3, 3] + place * step]
        images.append(image)
    return images


def _measures(brain: SegmentedBrain) -> PixelMeasuresSequence:
    across_mm, down_mm, step_mm = (float(_ds(np.linalg.norm(brain.affine[:3, axis]))) for axis in range(3))
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
