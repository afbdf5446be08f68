"""Facts of answered runs for tests of reports."""

import base64
import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
from PIL import Image

from med3d_contract.explanations import Explanation, ExplanationPicture, StoredExplanation
from med3d_contract.results import Refusal
from med3d_service.results.reports.facts import PatientIdentity, ReportFacts, SourceImages, StudyIdentity
from med3d_service.results.reports.segmented import SegmentedBrain
from rig.service.answers import brain_pictures, cohort
from rig.service.work import BUNDLE, PROVENANCE, QUALITY, SERIES, result

PATIENT = PatientIdentity(patient_id="PAT-0042", issuer="HOSPITAL", name="Müller^Änne", birth_date="19701112", sex="F")
STUDY = StudyIdentity(
    study_uid="1.2.3.4.5",
    study_date="20200723",
    study_time="081501",
    study_id="77",
    accession_number="ACC-77",
    referring_physician="Referrer^Rita",
    attributes={
        "study_description": "MR Schädel nativ",
        "institution_name": "Haus Süd",
        "patient_age": "049Y",
        "other_patient_ids": "OLD-7",
        "requesting_physician": "Ward^Seven",
        "requested_procedure": "MRI head",
        "timezone_offset": "+0200",
    },
)
COLOURS = np.random.default_rng(7).integers(0, 255, (6, 9, 3), dtype=np.uint8)
SOURCE = SourceImages("1.2.3.4.6", "1.2.840.10008.5.1.4.1.1.4", tuple(f"1.2.3.4.7.{number}" for number in range(5)))


def segmented_head() -> SegmentedBrain:
    """A brain in a sagittal series of five images."""
    voxels = np.zeros((5, 6, 7), np.uint8)
    voxels[1:4, 2:5, 2:6] = 1
    affine = np.eye(4)
    affine[:3] = [[0, 0, 1.2, -80], [0.9, 0.1, 0, 10], [0.1, -0.9, 0, 20]]
    return SegmentedBrain(voxels, affine, SOURCE.instance_uids, (1,) * 5, "1.2.3.9")


def explained(**picture: Any) -> StoredExplanation:
    """An explanation whose picture is COLOURS, or what ``picture`` says of it."""
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, "PNG")
    said = {"width": 9, "height": 6, "png_base64": base64.b64encode(buffer.getvalue()).decode()}
    return StoredExplanation(
        explanation=Explanation(step_years=10.0, shares=None, ventricles_ml=None),
        picture=ExplanationPicture.model_validate(said | picture),
    )


def facts(**changes: Any) -> ReportFacts:
    """A completed run of a DICOM study."""
    fields: dict[str, Any] = {
        "run_id": "c0b6e1ce-0a5e-4b61-8f1e-5a2b4e7d3c22",
        "study_id": "5a1f6a52-7c39-4e3e-9f0c-2f8f1f0d9a11",
        "answered_at": datetime(2026, 1, 5, 9, 30, tzinfo=UTC),
        "bundle": BUNDLE,
        "result": result(),
        "refusal": None,
        "series": SERIES,
        "quality": QUALITY,
        "provenance": PROVENANCE,
        "patient": PATIENT,
        "study": STUDY,
        "source": SOURCE,
        "predecessor": None,
        "pictures": brain_pictures(),
        "cohort": cohort(),
    }
    return ReportFacts(**(fields | changes))


def refused_facts(**changes: Any) -> ReportFacts:
    """A refused run of a DICOM study of which no series was read."""
    refusal = Refusal(code="no_t1w_series", reason="No series is T1-weighted. Send an MPRAGE.")
    return facts(**({"result": None, "refusal": refusal, "source": None, "pictures": None, "quality": None} | changes))
