"""The answer of a run as others read it: DICOM SR, a page, FHIR. They name the patient: the clinical grant."""

from collections.abc import Callable

from fastapi import APIRouter, Response

from med3d_service.api.routes import ServiceParts
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.kept import ReportDamagedError
from med3d_service.results.reports.library import ReportLibrary, ReportUnavailableError
from med3d_service.runs.fences import find_run
from med3d_service.trust.access import Caller, Clinical

router = APIRouter(tags=["reports"])
FHIR = "application/fhir+json"
OF_AN_ANSWER = ("unknown_run", "not_answered", "identity_corrected", *AUTH_CODES)
OF_A_DICOM_OBJECT = (*OF_AN_ANSWER, "no_dicom_study", "several_patients", "report_damaged")


def _described(media_type: str, description: str) -> dict[str, object]:
    schema = {"type": "object"} if media_type == FHIR else {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema}}}


@router.get(
    "/runs/{run_id}/sr",
    summary="A run's answer as DICOM SR",
    response_class=Response,
    responses=problems(*OF_A_DICOM_OBJECT)
    | {200: _described("application/dicom", "Comprehensive 3D SR (TID 1500), the very object that peers are sent")},
)
def structured_report(run_id: str, service: ServiceParts, caller: Clinical) -> Response:
    """Read the SR of an answered run."""
    return _dicom(service, caller, run_id, Kind.SR, f"{run_id}.dcm")


@router.get(
    "/runs/{run_id}/seg",
    summary="Where the brain was found, as DICOM Segmentation",
    response_class=Response,
    responses=problems(*OF_A_DICOM_OBJECT, "no_segmentation")
    | {200: _described("application/dicom", "Binary Segmentation on the very images that were read")},
)
def segmentation(run_id: str, service: ServiceParts, caller: Clinical) -> Response:
    """Read the brain mask of an answered run."""
    return _dicom(service, caller, run_id, Kind.SEG, f"{run_id}-seg.dcm")


@router.get(
    "/runs/{run_id}/report.pdf",
    summary="A run's answer as one page",
    response_class=Response,
    responses=problems(*OF_AN_ANSWER)
    | {
        200: _described("application/pdf", "Numbers with intervals, the reference cohort, the brain's outline, quality")
    },
)
def page(run_id: str, service: ServiceParts, caller: Clinical) -> Response:
    """Read the page of an answered run."""

    def made(library: ReportLibrary) -> bytes:
        from med3d_service.results.reports.printed_page.page import page_pdf

        return page_pdf(library.facts(run_id))

    return _private(_made(service, caller, run_id, made), "application/pdf", f"{run_id}.pdf")


@router.get(
    "/runs/{run_id}/fhir",
    summary="A run's answer as FHIR R4",
    response_class=Response,
    responses=problems(*OF_AN_ANSWER, "several_patients")
    | {200: _described(FHIR, "Bundle of DiagnosticReport, Observations, Device and Provenance")},
)
def fhir(run_id: str, service: ServiceParts, caller: Clinical) -> Response:
    """Read the FHIR resources of an answered run."""

    def made(library: ReportLibrary) -> bytes:
        from med3d_service.results.reports.fhir import fhir_json

        return fhir_json(library.facts_of_one_patient(run_id))

    return _private(_made(service, caller, run_id, made), FHIR, f"{run_id}.json")


def _dicom(service: Service, caller: Caller, run_id: str, kind: Kind, name: str) -> Response:
    content = _made(service, caller, run_id, lambda library: library.content(run_id, kind))
    return _private(content, "application/dicom", name)


def _made(service: Service, caller: Caller, run_id: str, make: Callable[[ReportLibrary], bytes]) -> bytes:
    with service.database.read() as session:
        find_run(session, caller, run_id)
    try:
        return make(ReportLibrary(service))
    except (ReportUnavailableError, ReportDamagedError) as error:
        raise ServiceError(error.code) from error


def _private(content: bytes, media_type: str, name: str) -> Response:
    """Send it so that whoever stands between must not keep it."""
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": f'inline; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
