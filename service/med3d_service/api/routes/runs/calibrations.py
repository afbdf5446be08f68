"""Calibrations of sites: sent by operators, listed, withdrawn."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from med3d_contract.calibrations import CalibrationList, CalibrationUpload, CalibrationView
from med3d_service.api.routes import ServiceParts
from med3d_service.problems import AUTH_CODES, problems
from med3d_service.runs.calibrations import add_calibration, calibrations_of, withdraw_calibration
from med3d_service.runs.views import moment
from med3d_service.storage.tables import CalibrationRow
from med3d_service.trust.access import Operator, Viewer
from med3d_service.trust.audit.requests import note_handled
from med3d_service.trust.audit.routes import Unaudited

router = APIRouter(tags=["calibrations"])

EXAMPLE = {
    "digest": "7c" * 32,
    "site": "Ward 3 Prisma",
    "bundle_digest": "4b" * 32,
    "heads": 24,
    "expires": "2027-01-05",
    "added_at": "2026-01-05T09:00:00Z",
    "withdrawn_at": None,
}
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="sha256 of the file")]


@router.post(
    "/calibrations",
    status_code=201,
    summary="Add a site's calibration",
    responses=problems(
        "calibration_unreadable", "calibration_withdrawn", "unknown_bundle", "invalid_request", *AUTH_CODES
    )
    | {
        201: {
            "description": "It goes to workers with the runs of the caller's site, with this signature from now on; "
            "200 where both were known",
            "content": {"application/json": {"example": EXAMPLE}},
        }
    },
)
def add(
    upload: CalibrationUpload, request: Request, response: Response, service: ServiceParts, caller: Operator
) -> CalibrationView:
    """Keep a file of `med3d calibrate` with its signature, which workers verify, for runs predicted from now on."""
    with service.database.write() as session:
        row, is_new = add_calibration(session, upload, caller.site)
        view = _view(row)
    note_handled(request, "calibration", [view.digest])
    response.status_code = 201 if is_new else 200
    return view


@router.get(
    "/calibrations",
    dependencies=[Unaudited],
    summary="List calibrations, the newest first",
    responses=problems(*AUTH_CODES)
    | {
        200: {
            "description": "All of the caller's site, withdrawn ones, too",
            "content": {"application/json": {"example": {"items": [EXAMPLE]}}},
        }
    },
)
def list_calibrations(service: ServiceParts, caller: Viewer) -> CalibrationList:
    """List the calibrations of the caller's site."""
    with service.database.read() as session:
        return CalibrationList(items=tuple(_view(row) for row in calibrations_of(session, caller)))


@router.delete(
    "/calibrations/{calibration_digest}",
    status_code=204,
    summary="Withdraw a calibration",
    responses=problems("unknown_calibration", "invalid_request", *AUTH_CODES),
)
def withdraw(calibration_digest: Digest, request: Request, service: ServiceParts, caller: Operator) -> None:
    """Hand it to workers no more. Answers that were given with it stay, and name it by its digest."""
    note_handled(request, "calibration", [calibration_digest])
    with service.database.write() as session:
        withdraw_calibration(session, calibration_digest, caller)


def _view(row: CalibrationRow) -> CalibrationView:
    return CalibrationView(
        digest=row.digest,
        site=row.site,
        bundle_digest=row.bundle_digest,
        heads=row.heads,
        expires=date.fromisoformat(row.expires),
        added_at=moment(row.added_at),
        withdrawn_at=None if row.withdrawn_at is None else moment(row.withdrawn_at),
    )
