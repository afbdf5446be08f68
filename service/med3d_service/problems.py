"""Every error that the API gives, in one catalogue, with its members of application/problem+json (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import BaseModel, Field

from med3d_contract.sent_files.archives import ARCHIVE_FAULTS
from med3d_contract.sent_files.unread_files import NO_IMAGES

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger()

CATALOGUE: Mapping[str, tuple[int, str, str]] = {
    # code: (status, what is wrong, what to do)
    "missing_key": (401, "No API key was sent.", "Send the header 'Authorization: Bearer KEY'."),
    "invalid_key": (401, "The API key is unknown, expired or revoked.", "Ask the operator for a valid key."),
    "session_over": (
        401,
        "The session has ended: it was not used for too long, signed out, or its key was revoked.",
        "Sign in again, by a new link of 'med3d sign-in' or with an API key.",
    ),
    "link_spent": (
        401,
        "The link was used before, or is older than an hour.",
        "Make a new one with 'med3d sign-in', or sign in with an API key.",
    ),
    "sign_in_failed": (
        401,
        "The way back from the hospital's sign-in does not belong to this browser, is too old, or was used before.",
        "Begin again on the page for signing in; if that fails too, tell the operator, who finds why in the log.",
    ),
    "not_from_our_page": (
        403,
        "The request came with a session's cookie, but not from a page of this service.",
        "Open the page again and send its form from there; programs send an API key in place of a cookie.",
    ),
    "hook_not_signed": (
        401,
        "The hook's call is not signed with the secret of a configured peer.",
        "Give the hook the name and the hook_secret that the peers' file states.",
    ),
    "hook_stale": (
        401,
        "The hook's call was made too long ago, or the clocks differ.",
        "Set both machines' clocks by NTP; the study will be found in the log of changes.",
    ),
    "hook_replayed": (409, "This very call was heeded before.", "Send each call once, with a nonce of its own."),
    "invalid_token": (
        401,
        "The token is damaged, expired, or not for this service.",
        "Get a new token from the issuer that this service trusts, for its audience.",
    ),
    "wrong_scope": (
        403,
        "The key or token does not allow this.",
        "Ask for a key of the role that GET /openapi.json states for the route; 'clinical' is a grant beside it.",
    ),
    "not_found": (
        404,
        "There is nothing under this address.",
        "Check the address; GET /openapi.json lists all routes.",
    ),
    "unknown_study": (404, "No study has this id.", "GET /studies lists the studies that this key may see."),
    "unknown_arrival": (
        404,
        "Nothing of this study has arrived here.",
        "Send it by C-STORE or STOW-RS first, and mind that the UID is the Study Instance UID.",
    ),
    "unknown_pull": (404, "No pull has this id.", "GET /pulls lists the pulls that this key may see."),
    "unknown_run": (404, "No run has this id.", "GET /runs lists the runs that this key may see."),
    "unknown_subject": (404, "No subject has this id or pseudonym.", "GET /subjects?participant_id=... finds its id."),
    "unknown_cohort": (404, "No cohort has this id or name.", "GET /cohorts lists the cohorts of this site."),
    "unknown_calibration": (404, "No calibration has this digest.", "GET /calibrations lists those of this site."),
    "unknown_delivery": (404, "No delivery has this id.", "GET /deliveries lists the deliveries of this site."),
    "unknown_key": (404, "No key that works has this prefix.", "GET /keys lists the keys of this site."),
    "unknown_session": (404, "No session that goes on has this id.", "GET /sessions lists those of this site."),
    "bundle_in_use": (
        409,
        "Runs are started with this model where none is asked for.",
        "Make another model the default first.",
    ),
    "bundle_retired": (
        409,
        "This model was retired: no run is started with it.",
        "Ask for another one of GET /bundles, or have an administrator make it the default again.",
    ),
    "bundle_not_carried": (
        409,
        "No worker that is alive carries this model.",
        "Start a worker with it first.",
    ),
    "default_bundle_set": (
        409,
        "MED3D_DEFAULT_BUNDLE says which model is the default.",
        "Change that setting and restart the API, or unset it and decide here.",
    ),
    "calibration_withdrawn": (
        409,
        "This very calibration was withdrawn before.",
        "Calibrate the scanner anew with 'med3d calibrate', and send that file.",
    ),
    "calibration_unreadable": (
        422,
        "The file is no site calibration that this release knows.",
        "Send site_calibration.json as 'med3d calibrate' wrote it, and its .sig.",
    ),
    "method_not_allowed": (405, "This address does not take this method.", "See GET /openapi.json."),
    "not_acceptable": (
        406,
        "The answer is DICOM JSON, which the request does not accept.",
        "Send 'Accept: application/dicom+json', or no Accept.",
    ),
    "reprocessing_under_way": (
        409,
        "The cohort is being worked through already.",
        "Wait until it is done, or cancel it first.",
    ),
    "no_reprocessing": (409, "The cohort is not being worked through.", "Start with POST /cohorts/{cohort}/reprocess."),
    "nothing_to_compare": (
        409,
        "The cohort went through one bundle only.",
        "Read its summary, work it through by another one, or name both with 'from' and 'to'.",
    ),
    "no_schedule": (409, "The cohort has no schedule, so it has no window.", "Set one, or leave 'in_window' out."),
    "cohort_exists": (409, "A cohort of this site has this name.", "Choose another name, or add to the one there is."),
    "not_claimable": (409, "The stage is taken, over, or not ready yet.", "Drop the task: the sweep sends what waits."),
    "bundle_not_held": (409, "The run needs a bundle that this worker does not carry.", "Leave it to another worker."),
    "request_under_way": (
        409,
        "A request with this Idempotency-Key is under way.",
        "Wait for its answer, or send the same again in some seconds.",
    ),
    "key_of_another_request": (
        422,
        "This Idempotency-Key came with another body before.",
        "Send a new key with each new request; the same one only to repeat a request as it was.",
    ),
    "invalid_idempotency_key": (
        422,
        "Idempotency-Key is empty, too long or no printable ASCII.",
        "Send 1 to 200 characters, as a UUID has them.",
    ),
    "state_changed": (
        412,
        "It is no longer in the state whose ETag If-Match names.",
        "Read it again, look at what changed, and send the change with its new ETag.",
    ),
    "study_in_work": (
        409,
        "A worker has the study in hand.",
        "Try again when its run waits or has ended; that is a matter of seconds.",
    ),
    "not_answered": (409, "The run has no answer to report (yet).", "Follow the run; reports exist once it has ended."),
    "report_damaged": (
        500,
        "The report that is stored of this run is not the one that was made; it is not shown.",
        "Tell the operator: 'med3d ledger --digests' says what else is, 'med3d restore BACKUPS --objects' mends it.",
    ),
    "no_pictures": (
        404,
        "The run has no pictures: no brain was looked for (yet), or they were removed when their time was over.",
        "Read the run: its refusal says what was seen; a run of the same study by hand makes pictures anew.",
    ),
    "no_explanation": (
        404,
        "The run cannot be explained: it has no number, its tensor's time was over, or explanations are switched off.",
        "Read the run; a run of the same study by hand makes its tensor anew, and MED3D_EXPLANATIONS switches them on.",
    ),
    "no_volumes": (
        404,
        "There are no volumes of this run to look at: no series was analysed (yet), or its images' time was over.",
        "Read the run: its refusal says what was seen. Where the images were removed, send the study again.",
    ),
    "range_not_there": (
        416,
        "The range that was asked for is not in the file.",
        "Ask for bytes before the end of the file, or leave the header Range out to get all of it.",
    ),
    "verdict_without_why": (
        422,
        "A verdict that rejects, asks for another scan or comments says nothing of why.",
        "Send 'why': what you saw, in a sentence.",
    ),
    "no_segmentation": (
        404,
        "There is no segmentation: the run's slices are frames of several images, or its pictures are gone or too old.",
        "Take the page; a run of the same study once its tensor is gone makes the mask anew.",
    ),
    "no_dicom_study": (
        409,
        "The run's images were no DICOM, so there is no study to file an object in.",
        "Take /runs/{id}/report.pdf or /runs/{id}/fhir.",
    ),
    "several_patients": (
        409,
        "The images of the study name several patients: there is none to file an answer for.",
        "Read /studies/{id}/patients; correct the study at the PACS, and send all of it again.",
    ),
    "identity_corrected": (
        409,
        "The patient of this study was corrected at the PACS: another study holds its images now.",
        "Read GET /studies/{id}: corrected_by names that study; its run has the answer under the new identity.",
    ),
    "not_requeueable": (
        409,
        "Only a run that has failed or was cancelled, and that no other run stands for, can be requeued.",
        "Read the run: it may still be under way, have its answer, or have been requeued already.",
    ),
    "unknown_view": (404, "You keep no view of this id.", "List your views: GET /me/views."),
    "too_many_views": (409, "You keep as many views as can be kept.", "Forget one that you do not use any more."),
    "run_over": (
        409,
        "The run has ended: there is nothing to take back or to hurry.",
        "Read the run. One that failed or was cancelled can be done again.",
    ),
    "as_asked": (409, "The run is as it was asked to be.", "Nothing is to be done."),
    "attempt_over": (409, "This attempt is over: its lease ended or a newer one exists.", "Stop work on this attempt."),
    "upload_too_large": (413, "The upload is larger than this service takes.", "Send one study per request, packed."),
    "body_too_large": (
        413,
        "The body is larger than this route takes.",
        "Send less at a time; studies go to POST /studies as a form, or to POST /dicomweb/studies.",
    ),
    "headers_too_large": (
        431,
        "The request's headers are more than 100, or larger than 64 KiB with the address.",
        "Send fewer headers and no large cookies.",
    ),
    "malformed_request": (
        400,
        "What came is no HTTP request.",
        "Speak HTTP/1.1; where the service has a certificate, over TLS.",
    ),
    "unknown_transfer_coding": (
        501,
        "The body is transferred in a coding other than 'chunked', such as gzip.",
        "Send it with 'Transfer-Encoding: chunked' alone, or with its Content-Length.",
    ),
    "body_encoded": (
        415,
        "The body is compressed as its Content-Encoding says, and bodies are taken as they are.",
        "Send it without Content-Encoding; files may be packed themselves, as .nii.gz, .dcm.gz, .zip or .tar.gz.",
    ),
    "request_too_slow": (
        408,
        "The body came too slowly, or stopped coming.",
        "Send it again over a better line; large studies in several requests of POST /dicomweb/studies.",
    ),
    "service_full": (
        503,
        "All connections that this service takes are in use.",
        "Try again in some seconds; use one connection for many requests.",
    ),
    "not_multipart": (415, "The body is not multipart/form-data.", "Send the study as multipart field 'files'."),
    "pull_sent_to_studies": (
        415,
        "This route takes images; what to fetch from a peer was asked for here until version 0.2.",
        "Send the same JSON to POST /pulls.",
    ),
    "malformed_store": (400, "The multipart body is damaged, empty or ends early.", "Send the whole request again."),
    "not_multipart_related": (
        415,
        "The body is not multipart/related of DICOM files.",
        'Send multipart/related; type="application/dicom" with a boundary, and parts of type application/dicom.',
    ),
    "invalid_request": (422, "The request does not fit the API's description.", "See 'errors' and GET /openapi.json."),
    "malformed_upload": (422, "The multipart body is damaged or ends early.", "Send the whole request again."),
    "empty_upload": (422, "The upload holds no file content.", "Send one study in the multipart field 'files'."),
    "no_images": (422, NO_IMAGES.seen, NO_IMAGES.instead),
    "unsupported_format": (
        422,
        "The upload holds an image of a kind that cannot be read here.",
        "Send DICOM files (.dcm.gz, too), .nii, .nii.gz or .mgz, or a .zip, .tar or .tar.gz of them.",
    ),
    "nifti_unreadable": (422, "The file is no readable NIfTI image.", "Send an intact .nii or .nii.gz."),
    "nifti_truncated": (
        422,
        "The file ends before the voxels that its header announces, or is damaged.",
        "Send it again, complete.",
    ),
    **{code: (422, *words) for code, words in ARCHIVE_FAULTS.items()},
    "unknown_field": (422, "The form holds a field that the API does not know.", "See GET /openapi.json."),
    "invalid_age": (
        422,
        "'age' is not a number of years from 0 to 120.",
        "Send years, as in 63 or 63.4, or leave it out.",
    ),
    "invalid_sex": (422, "'sex' is neither F nor M.", "Send F or M, or leave it out."),
    "invalid_subject": (422, "'subject' is longer than 200 characters.", "Send a short pseudonym, or leave it out."),
    "invalid_series": (
        422,
        "'series' is longer than 300 characters.",
        "Send its number, its Series Instance UID, or its label in an earlier run.",
    ),
    "unknown_priority": (422, "'priority' is none of stat, routine, cohort.", "Send one of them, or leave it out."),
    "unknown_peer": (422, "No peer of this name is configured.", "Ask the operator for the names of the peers."),
    "unknown_bundle": (422, "No bundle has this name, version or digest.", "GET /bundles lists what there is."),
    "invalid_cursor": (422, "The cursor is none that this API gave.", "Start again without a cursor."),
    "contract_version_mismatch": (
        422,
        "Worker and service speak different versions of their contract.",
        "Install the same release of worker and service.",
    ),
    "too_many_requests": (
        429,
        "This caller asks for more than its share.",
        "Wait for the seconds that Retry-After states; follow a run by its events, not by asking.",
    ),
    "internal_error": (500, "Something broke on our side.", "Try again; tell the operator if it lasts."),
    "no_parquet": (501, "This service cannot write Parquet.", "Ask for CSV, or install the extra 'parquet'."),
    "unavailable": (503, "The service cannot reach its database or store now.", "Try again in a minute."),
    "store_busy": (503, "No room is left for instances.", "Send them again later; the operator must make room."),
    "bundle_forged": (
        503,
        "The row of this model, or which one is the default, was changed past the service.",
        "Tell the operator: the audit trail has the alert; the next worker that carries the model writes its row anew.",
    ),
    "no_bundle": (503, "No model bundle is known yet.", "Try again when a worker has started."),
    "disk_full": (507, "The service has no room left.", "Try again later; the operator must make room."),
}


AUTH_CODES = (
    "missing_key",
    "invalid_key",
    "invalid_token",
    "session_over",
    "wrong_scope",
    "not_from_our_page",
    "too_many_requests",
)
"""What every route that takes a role may answer."""


class Problem(BaseModel):
    """An error answer (RFC 9457). ``code`` is stable; ``remedy`` says what to do."""

    type: str = Field(examples=["urn:med3d:problem:invalid_age"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    code: str = Field(examples=["invalid_age"])
    detail: str = Field(examples=["'age' is not a number of years from 0 to 120."])
    remedy: str = Field(examples=["Send years, as in 63 or 63.4, or leave it out."])
    errors: list[dict[str, Any]] | None = None


class ServiceError(Exception):
    """An error that the caller is told. ``detail`` and ``remedy`` replace the catalogue's where more is known."""

    def __init__(
        self, code: str, detail: str | None = None, *, remedy: str | None = None, retry_after_s: float | None = None
    ) -> None:
        status, sentence, usual_remedy = CATALOGUE[code]
        super().__init__(code)
        self.code = code
        self.status = status
        self.detail = detail or sentence
        self.remedy = remedy or usual_remedy
        self.retry_after_s = 10.0 if retry_after_s is None and status == 503 else retry_after_s


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}


def problem_body(error: ServiceError, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Render the error as the members of problem+json."""
    return Problem(
        type=f"urn:med3d:problem:{error.code}",
        title=TITLES[error.status],
        status=error.status,
        code=error.code,
        detail=error.detail,
        remedy=error.remedy,
        errors=errors,
    ).model_dump(exclude_none=True)


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Describe ``codes`` (and those that any route may give) for a route's ``responses`` in OpenAPI."""
    described: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, "invalid_request", "internal_error", "unavailable"):
        error = ServiceError(code)
        entry = described.setdefault(
            error.status,
            {
                "description": TITLES[error.status],
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][code] = {"value": problem_body(error)}
    return described


def database_problem(error: Exception) -> ServiceError:
    """Return what to tell of a database that does not take or give what it should; the rest is in the log."""
    full = "disk is full" in str(error) or "No space left" in str(error)
    log.error("database_error", kind=type(error.__cause__ or error).__name__, full=full)
    return ServiceError("disk_full" if full else "unavailable")
