"""The picture of an explanation as Secondary Capture: the head ten years younger and older, and what changes."""

import base64
import io
from typing import Any

from pydicom import Dataset
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage
from reportlab.lib.utils import ImageReader

from med3d_contract.explanations import SENTENCE, ExplanationPicture
from med3d_service.results.reports import codes
from med3d_service.results.reports.dicom_objects import as_file, identify, patient_and_study
from med3d_service.results.reports.encapsulated import fill_colours, source_references
from med3d_service.results.reports.facts import ReportFacts

EXPLANATION = "explanation"
DESCRIPTION = "Brain age: older and younger, as the model believes"


class NoExplanationError(Exception):
    """The run was not explained, or its picture is none."""


def explanation_capture(facts: ReportFacts) -> bytes:
    """Write the picture (PS3.3 A.8.1), RGB, RLE-compressed. Raises NoDicomStudyError, NoExplanationError."""
    dataset = patient_and_study(facts)
    if facts.explanation is None:
        raise NoExplanationError
    identify(dataset, facts, EXPLANATION, SecondaryCaptureImageStorage, "OT")
    dataset.SeriesDescription = DESCRIPTION
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "NO"  # sides and words, and nothing of the patient
    dataset.RecognizableVisualFeatures = "NO"  # a brain without its face
    dataset.BodyPartExamined = "BRAIN"
    dataset.PatientOrientation = ""  # of several planes at once; sides are drawn
    dataset.DerivationDescription = SENTENCE
    if facts.source is not None:
        dataset.SourceImageSequence = [_as_processed(one) for one in source_references(facts)]
    fill_colours(dataset, *_pixels(facts.explanation.picture))
    return as_file(dataset, RLELossless)


def _as_processed(reference: Dataset) -> Dataset:
    reference.PurposeOfReferenceCodeSequence = [codes.PROCESSED_IMAGE]
    return reference


def _pixels(picture: ExplanationPicture) -> tuple[bytes, int, int]:
    try:
        image: Any = ImageReader(io.BytesIO(base64.b64decode(picture.png_base64)))
        if image.getSize() != (picture.width, picture.height):  # before anything is decompressed
            raise NoExplanationError
        return bytes(image.getRGBData()), picture.width, picture.height
    except (OSError, ValueError, SyntaxError) as error:
        raise NoExplanationError from error
