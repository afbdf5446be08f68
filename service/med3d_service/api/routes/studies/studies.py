"""Studies: sending one, reading one, running one again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter, BackgroundTasks, Query, Request, Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import BundleRef, ChronologicalAge, Frozen, Priority, RunStatus, Sex
from med3d_service.api.door import ReadsAsItComes
from med3d_service.api.http.bodies import in_thread, read_body
from med3d_service.api.http.pages import Cursor, Limit, cut, newest_first
from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.routes.studies.study_form import FORM, INTAKE_CODES
from med3d_service.api.service import Service
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.bundles import find_bundle_for_run
from med3d_service.runs.queueing.dispatch import send_waiting
from med3d_service.runs.starting import start_run
from med3d_service.runs.views import bundle_ref, moment, subject_of
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow
from med3d_service.studies.series_by_hand import LONGEST_SERIES, series_by_hand
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.uploads.recording import RecordedStudy
from med3d_service.trust.access import Caller, Submitter, Viewer
from med3d_service.trust.audit.requests import note_shown
from med3d_service.trust.audit.routes import Receives

log = structlog.get_logger()
router = APIRouter(tags=["studies"])

PARALLEL_UPLOADS = 16


class Links(Frozen):
    """Where to go on."""

    study: str
    run: str
    events: str


class Submitted(Frozen):
    """A study was taken, or was known."""

    study_id: str
    run_id: str
    status: RunStatus
    links: Links


class StudyRun(Frozen):
    """A run of a study, in short. ``chosen_series``: null where the service chose; a UID is shown by its stand-in."""

    run_id: str
    status: RunStatus
    bundle: BundleRef
    chosen_series: str | None
    superseded: bool


class StudyView(Frozen):
    """A study. ``working_copy``: parked where it holds no usable T1-weighted series yet and may still get one.

    ``corrected_by``: its patient was corrected, and this study holds the images now.
    """

    study_id: str
    created_at: datetime
    files: int
    skipped_files: int
    subject: str | None
    age: ChronologicalAge | None
    sex: Sex | None
    working_copy: CopyStatus
    corrected_by: str | None
    runs: tuple[StudyRun, ...]


class StudyPage(Frozen):
    """Studies, newest first."""

    items: tuple[StudyView, ...]
    next_cursor: str | None


class RunRequest(Frozen):
    """How to run a study again; what is left out stays as it was chosen by the service."""

    bundle: Annotated[str | None, Field(max_length=300, examples=["infovae-ixi@0.2.0"])] = None
    series: Annotated[
        str | None,
        Field(
            max_length=LONGEST_SERIES,
            description="its number, its Series Instance UID, or its label in an earlier run",
            examples=["series 19"],
        ),
    ] = None
    priority: Priority | None = None


def _example(value: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": value}}}


@router.post(
    "/studies",
    status_code=202,
    dependencies=[Receives, ReadsAsItComes],
    summary="Send a study",
    responses=problems(*INTAKE_CODES, "pull_sent_to_studies", *AUTH_CODES)
    | {
        200: {"model": Submitted} | _example(examples.SUBMITTED, "Known already: the same ids"),
        202: _example(examples.SUBMITTED, "The study is on disk and its run waits"),
    },
    openapi_extra={"requestBody": FORM},
)
async def submit_study(
    request: Request, response: Response, service: ServiceParts, caller: Submitter, background: BackgroundTasks
) -> Submitted:
    """Take one study. Once this has answered, a loss of power does not lose it.

    The same files again (packed otherwise, renamed, in another order) find the same study; ``age``, ``sex``,
    ``subject`` and a more urgent ``priority`` are then updated.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() == "application/json":
        raise ServiceError("pull_sent_to_studies")
    recorded = await _receive(request, service, caller)
    links = Links(
        study=f"/studies/{recorded.study_id}",
        run=f"/runs/{recorded.run_id}",
        events=f"/runs/{recorded.run_id}/events",
    )
    response.status_code = 200 if recorded.known else 202
    response.headers["Location"] = links.run
    background.add_task(_send, service, recorded.run_id)
    note_shown(request, "study", [recorded.study_id])
    log.info("study_taken", study_id=recorded.study_id, run_id=recorded.run_id, known=recorded.known)
    return Submitted(study_id=recorded.study_id, run_id=recorded.run_id, status=recorded.status, links=links)


def _send(service: Service, run_id: str) -> None:
    send_waiting(service.database, service.broker, redispatch_s=service.settings.redispatch_s, run_ids=[run_id])


async def _receive(request: Request, service: Service, caller: Caller) -> RecordedStudy:
    """Read the body piece by piece, working on each in a thread; a sender that hangs up leaves nothing behind."""
    limits = Limits.of(service.settings)
    content_type = request.headers.get("content-type", "")
    form = StudyForm(content_type, service.settings.spool_dir, service.keys.originals, caller.site, Meter(limits))
    try:
        await read_body(request, limits.upload_bytes, form.write)
        fields, received = await in_thread(request, form.finish)
        wanted = replace(fields, series=series_by_hand(fields.series, service.keys.uids))
        return await in_thread(request, lambda: service.recorder.record(caller.site, wanted, received))
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(request, form.discard)


Sought = Annotated[str | None, Query(max_length=200, description="as the images have it; takes the clinical grant")]


@router.get(
    "/studies",
    summary="List studies, newest first",
    responses=problems("invalid_cursor", *AUTH_CODES)
    | {200: _example({"items": [examples.STUDY], "next_cursor": None}, "A page of studies")},
)
def list_studies(
    request: Request,
    service: ServiceParts,
    caller: Viewer,
    accession: Sought = None,
    patient_id: Sought = None,
    study_uid: Sought = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> StudyPage:
    """List the studies that this caller may see; with the clinical grant also those of a patient, accession or UID."""
    kinds = {"accession_number": accession, "patient_id": patient_id, "study_uid": study_uid}
    sought = {kind: text for kind, text in kinds.items() if text is not None}
    if sought and not caller.clinical:
        raise ServiceError("wrong_scope", "To find studies by what names a patient takes the clinical grant.")
    with service.database.read() as session:
        query = newest_first(select(StudyRow).where(caller.sees(StudyRow.site)), StudyRow.seq, limit, cursor)
        for kind, text in sought.items():
            # The ids and no condition: SQLite would walk through all studies, newest first, to find the one.
            query = query.where(StudyRow.id.in_(session.scalars(service.vault.find(kind, text)).all()))
        rows, next_cursor = cut(session.scalars(query).all(), limit, lambda row: row.seq)
        items = _views(service, session, rows)
    note_shown(request, "study", [item.study_id for item in items], sought=tuple(sought))
    return StudyPage(items=items, next_cursor=next_cursor)


@router.get(
    "/studies/{study_id}",
    summary="Read a study",
    responses=problems("unknown_study", *AUTH_CODES) | {200: _example(examples.STUDY, "The study and its runs")},
)
def read_study(study_id: str, service: ServiceParts, caller: Viewer) -> StudyView:
    """Read one study and the runs that it has had."""
    with service.database.read() as session:
        return study_view(service, session, _study(session, caller, study_id))


@router.post(
    "/studies/{study_id}/runs",
    status_code=202,
    summary="Run a study again",
    responses=problems(
        "unknown_study",
        "unknown_bundle",
        "bundle_retired",
        "no_bundle",
        "bundle_forged",
        "identity_corrected",
        *AUTH_CODES,
    )
    | {
        200: {"model": Submitted} | _example(examples.SUBMITTED, "There is such a run: its ids"),
        202: _example(examples.SUBMITTED, "A new run waits"),
    },
)
def run_again(
    study_id: str,
    wanted: RunRequest,
    response: Response,
    service: ServiceParts,
    caller: Submitter,
    background: BackgroundTasks,
) -> Submitted:
    """Run a study by another bundle, on a series chosen by hand, or once more after a fault."""
    with service.database.write() as session:
        study = _study(session, caller, study_id)
        bundle = find_bundle_for_run(session, wanted.bundle)
        started = start_run(
            session,
            study,
            bundle,
            priority=wanted.priority,
            chosen_series=series_by_hand(wanted.series, service.keys.uids),
            after_fault=True,
        )
    run_id = started.run.id
    links = Links(study=f"/studies/{study_id}", run=f"/runs/{run_id}", events=f"/runs/{run_id}/events")
    response.status_code = 200 if started.known else 202
    response.headers["Location"] = links.run
    background.add_task(_send, service, run_id)
    return Submitted(study_id=study_id, run_id=run_id, status=RunStatus(started.run.status), links=links)


def _study(session: Session, caller: Caller, study_id: str) -> StudyRow:
    found = session.scalars(select(StudyRow).where(StudyRow.id == study_id, caller.sees(StudyRow.site))).first()
    if found is None:
        raise ServiceError("unknown_study")
    return found


def study_view(service: Service, session: Session, study: StudyRow) -> StudyView:
    """Return a study as GET shows it."""
    return _views(service, session, [study])[0]


def _views(service: Service, session: Session, studies: Sequence[StudyRow]) -> tuple[StudyView, ...]:
    ids = [study.id for study in studies]
    subjects = service.vault.read_all(session, ids, "subject")
    runs = _runs_of(session, ids)
    return tuple(_study_view(study, subjects.get(study.id), runs.get(study.id, ())) for study in studies)


def _runs_of(session: Session, study_ids: Sequence[str]) -> dict[str, list[StudyRun]]:
    """Return the runs of studies in short, by study: their results, which are long, are not read."""
    found = session.execute(
        select(RunRow.study_id, RunRow.id, RunRow.status, RunRow.chosen_series, RunRow.superseded_by, BundleRow)
        .join(BundleRow, BundleRow.digest == RunRow.bundle_digest)
        .where(RunRow.study_id.in_(study_ids))
        .order_by(RunRow.seq)
    )
    runs: dict[str, list[StudyRun]] = {}
    for study_id, run_id, status, chosen_series, superseded_by, bundle in found:
        run = StudyRun(
            run_id=run_id,
            status=RunStatus(status),
            bundle=bundle_ref(bundle),
            chosen_series=chosen_series or None,
            superseded=superseded_by is not None,
        )
        runs.setdefault(study_id, []).append(run)
    return runs


def _study_view(study: StudyRow, pseudonym: str | None, runs: Sequence[StudyRun]) -> StudyView:
    subject = subject_of(study)
    return StudyView(
        study_id=study.id,
        created_at=moment(study.created_at),
        files=study.files,
        skipped_files=study.skipped_files,
        subject=pseudonym,
        age=subject.age,
        sex=subject.sex,
        working_copy=CopyStatus(study.working_status),
        corrected_by=study.corrected_by,
        runs=tuple(runs),
    )
