"""The page as DICOM: Encapsulated PDF, and Secondary Capture for viewers that show pictures only."""

import pypdfium2
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import EncapsulatedPDFStorage, RLELossless, SecondaryCaptureImageStorage

from med3d_service.cohorts.charts.paper_figure import PDFIUM
from med3d_service.results.reports import codes
from med3d_service.results.reports.dicom_objects import as_file, identify, own_scheme, patient_and_study
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.printed_page.page import page_pdf

PDF, SC = "pdf", "sc"
TITLE = "Brain age analysis"
DOTS_PER_INCH = 130


def encapsulated_pdf(facts: ReportFacts) -> bytes:
    """Write the page as Encapsulated PDF (PS3.3 A.45.1). Raises NoDicomStudyError."""
    dataset = patient_and_study(facts)
    identify(dataset, facts, PDF, EncapsulatedPDFStorage, "DOC")
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.AcquisitionDateTime = ""
    dataset.DocumentTitle = TITLE
    dataset.ConceptNameCodeSequence = [_title()]
    dataset.CodingSchemeIdentificationSequence = [own_scheme()]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    if facts.source is not None:
        dataset.SourceInstanceSequence = source_references(facts)
    document = page_pdf(facts)
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return as_file(dataset)


def secondary_capture(facts: ReportFacts) -> bytes:
    """Write the page as Secondary Capture (PS3.3 A.8.1), RGB, RLE-compressed. Raises NoDicomStudyError."""
    dataset = patient_and_study(facts)
    identify(dataset, facts, SC, SecondaryCaptureImageStorage, "OT")
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.BodyPartExamined = "BRAIN"
    dataset.PatientOrientation = ""
    fill_colours(dataset, *page_pixels(page_pdf(facts)))
    return as_file(dataset, RLELossless)


def fill_colours(dataset: Dataset, pixels: bytes, width: int, height: int) -> None:
    """Fill Image Pixel with RGB bytes, row by row, RLE-compressed."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.Rows, dataset.Columns = height, width
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = encapsulate([_run_lengths(pixels, width, height)])
    dataset["PixelData"].VR = "OB"


def _run_lengths(pixels: bytes, width: int, height: int) -> bytes:
    """Compress without loss (PS3.5 annex G): a page is white for the most part, and every viewer reads this."""
    return RLELosslessEncoder.encode(
        pixels,
        encoding_plugin="pydicom",
        rows=height,
        columns=width,
        samples_per_pixel=3,
        planar_configuration=0,
        photometric_interpretation="RGB",
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        number_of_frames=1,
    )


def page_pixels(document: bytes) -> tuple[bytes, int, int]:
    """Draw the first page of a PDF: RGB bytes row by row, width, height."""
    with PDFIUM, pypdfium2.PdfDocument(document) as opened:
        bitmap = opened[0].render(scale=DOTS_PER_INCH / 72, rev_byteorder=True)
        pixels = bitmap.to_numpy()[:, :, :3]
        return pixels.tobytes(), bitmap.width, bitmap.height


def _title() -> Dataset:
    made: CodedConcept = codes.BRAIN_AGE_ANALYSIS
    return made


def source_references(facts: ReportFacts) -> list[Dataset]:
    """Name the instances that the numbers come from."""
    assert facts.source is not None
    found = []
    for uid in facts.source.instance_uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = facts.source.sop_class_uid, uid
        found.append(item)
    return found
