"""What workers say: hello, claims, heartbeats and how stages end. The words are med3d_contract.work's."""

from collections.abc import Collection, Sequence
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.json_files import read_json
from med3d_contract.results import BundleRef
from med3d_contract.work import (
    CONTRACT_VERSION,
    Appraisal,
    AppraisalRequest,
    ClaimRequest,
    Heartbeat,
    Outcome,
    PredictClaim,
    PredictClaimRequest,
    PredictClaims,
    PreprocessClaim,
    PreprocessClaims,
    Preprocessed,
    PreprocessedRuns,
    Release,
    StaleRuns,
    StoredOutcomes,
    Subject,
    WorkerHello,
)
from med3d_service.api.door import takes_up_to
from med3d_service.api.routes import ServiceParts
from med3d_service.api.service import Service
from med3d_service.cohorts.subjects import subjects_of
from med3d_service.custody.retention import remove_of_erased
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs import transitions
from med3d_service.runs.bundles import note_preprocessing, register_bundles
from med3d_service.runs.calibrations import calibrations_for
from med3d_service.runs.fences import require_own_run, select_own_runs
from med3d_service.runs.queueing.dispatch import send_waiting
from med3d_service.runs.views import bundle_ref, priority_of
from med3d_service.storage.arrival_tables import AppraisalRow
from med3d_service.storage.copy_states import LOOKED_AT
from med3d_service.storage.database import db_now
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow, WorkerRow
from med3d_service.trust.access import Caller, Worker
from med3d_service.trust.audit.requests import note_handled
from med3d_service.trust.audit.routes import HandsOut, Unaudited


async def _same_contract(request: Request) -> None:
    """Refuse another version by name, before its unknown words are judged."""
    try:
        body = read_json(await request.body())
        version = body["worker"]["contract_version"]
    except (ValueError, LookupError, TypeError):
        return  # the model will say what is missing
    if version != CONTRACT_VERSION:
        raise ServiceError(
            "contract_version_mismatch",
            f"The worker speaks contract version {str(version)[:20]}, this service {CONTRACT_VERSION}.",
        )


router = APIRouter(prefix="/worker", tags=["worker"])
SameContract = Depends(_same_contract)
InBulk = takes_up_to(32 * 1024 * 1024)
"""64 runs in one call, each with up to half a megabyte: a UID for every instance that was read, or 512 coordinates."""


@router.post(
    "/hello",
    status_code=204,
    dependencies=[SameContract, Unaudited],
    summary="A worker is alive",
    responses=problems("contract_version_mismatch", *AUTH_CODES),
)
def hello(said: WorkerHello, service: ServiceParts, _caller: Worker) -> None:
    """Note a worker and the bundles that it carries."""
    worker = said.worker
    with service.database.write() as session:
        register_bundles(session, worker.bundles)
        note_preprocessing(session, worker.preprocessing_digests)
        session.merge(
            WorkerRow(
                worker_id=worker.worker_id,
                contract_version=worker.contract_version,
                software=worker.software,
                providers=list(worker.providers),
                bundles=[bundle.model_dump(mode="json") for bundle in worker.bundles],
                queues=list(said.queues),
                seen_at=db_now(),
                told_silent=False,
            )
        )


@router.post(
    "/runs/{run_id}/claim",
    dependencies=[SameContract, HandsOut],
    summary="Claim the preprocess stage of a run",
    responses=problems("unknown_run", "not_claimable", "bundle_not_held", "contract_version_mismatch", *AUTH_CODES),
)
def claim_preprocess(
    run_id: str, wanted: ClaimRequest, request: Request, service: ServiceParts, caller: Worker
) -> PreprocessClaims:
    """Hand out the stage with its attempt number and lease, if it waits; with ``limit``, that of others like it too."""
    with service.database.write() as session:
        require_own_run(session, caller, run_id)
        runs = transitions.claim_preprocess_with_batch_mates(
            session, run_id, wanted.worker, wanted.limit, service.leases, caller.sees(StudyRow.site)
        )
        note_handled(request, "run", [run.id for run in runs])
        studies = _studies_of(session, runs)
        subjects = subjects_of(session, runs, studies)
        bundle = bundle_ref(session.get_one(BundleRow, runs[0].bundle_digest))
        claims = tuple(_preprocess_claim(service, run, studies[run.study_id], subjects[run.id], bundle) for run in runs)
    return PreprocessClaims(claims=claims)


def _preprocess_claim(
    service: Service, run: RunRow, study: StudyRow, subject: Subject, bundle: BundleRef
) -> PreprocessClaim:
    assert study.working_key is not None
    assert study.working_sha256 is not None
    return PreprocessClaim(
        run_id=run.id,
        study_id=run.study_id,
        attempt=run.attempt,
        lease_s=service.leases.lease_s,
        priority=priority_of(run),
        bundle=bundle,
        working_copy_key=study.working_key,
        working_copy_sha256=study.working_sha256,
        chosen_series=run.chosen_series or None,
        subject=subject,
    )


@router.get(
    "/studies/{study_id}/appraisal",
    summary="A study whose series shall be looked at",
    responses=problems("unknown_study", "not_claimable", *AUTH_CODES),
)
def appraisal_request(study_id: str, service: ServiceParts, caller: Worker) -> AppraisalRequest:
    """Say where the working copy lies, while the appraisal is needed."""
    with service.database.read() as session:
        study, appraisal = _appraised(session, study_id, caller)
        if appraisal.eligible is not None or study.working_key is None or study.working_sha256 is None:
            raise ServiceError("not_claimable")
        return AppraisalRequest(working_copy_key=study.working_key, working_copy_sha256=study.working_sha256)


@router.put(
    "/studies/{study_id}/appraisal",
    status_code=204,
    summary="Which series of a study can be analysed",
    responses=problems("unknown_study", *AUTH_CODES),
)
def appraised(study_id: str, found: Appraisal, service: ServiceParts, caller: Worker) -> None:
    """Take a worker's finding, unless the working copy has changed since."""
    with service.database.write() as session:
        study, appraisal = _appraised(session, study_id, caller)
        if study.working_sha256 == found.working_copy_sha256 and study.working_status in LOOKED_AT:
            appraisal.eligible = sorted(set(found.eligible))


def _appraised(session: Session, study_id: str, caller: Caller) -> tuple[StudyRow, AppraisalRow]:
    study = session.scalars(select(StudyRow).where(StudyRow.id == study_id, caller.sees(StudyRow.site))).one_or_none()
    appraisal = session.get(AppraisalRow, study_id)
    if study is None or appraisal is None:
        raise ServiceError("unknown_study")
    return study, appraisal


@router.post(
    "/claims/predict",
    dependencies=[SameContract, Unaudited],
    summary="Claim the predict stage of several runs of one bundle",
    responses=problems("contract_version_mismatch", *AUTH_CODES),
)
def claim_predict(request: PredictClaimRequest, service: ServiceParts, caller: Worker) -> PredictClaims:
    """Hand out up to ``limit`` preprocessed runs of one bundle; none is no error."""
    with service.database.write() as session:
        seen = caller.sees(StudyRow.site)
        runs = transitions.claim_predict(session, request.worker, request.limit, service.leases, seen)
        studies = _studies_of(session, runs)
        subjects = subjects_of(session, runs, studies)
        usable, files = calibrations_for(session, runs, studies)
        bundles = {digest: session.get_one(BundleRow, digest) for digest in {run.bundle_digest for run in runs}}
        claims = tuple(
            _predict_claim(service, run, subjects[run.id], bundle_ref(bundles[run.bundle_digest]), usable[run.id])
            for run in runs
        )
    return PredictClaims(claims=claims, calibrations=files)


def _predict_claim(
    service: Service, run: RunRow, subject: Subject, bundle: BundleRef, calibrations: tuple[str, ...]
) -> PredictClaim:
    return PredictClaim(
        run_id=run.id,
        study_id=run.study_id,
        attempt=run.attempt,
        lease_s=service.leases.lease_s,
        bundle=bundle,
        subject=subject,
        preprocessed=Preprocessed.model_validate(run.preprocessed),
        calibrations=calibrations,
    )


def _studies_of(session: Session, runs: Sequence[RunRow]) -> dict[str, StudyRow]:
    wanted = {run.study_id for run in runs}
    return {study.id: study for study in session.scalars(select(StudyRow).where(StudyRow.id.in_(wanted)))}


@router.post(
    "/heartbeat",
    dependencies=[Unaudited],
    summary="Renew the leases of attempts",
    responses=problems(*AUTH_CODES),
)
def heartbeat(beat: Heartbeat, service: ServiceParts, caller: Worker) -> StaleRuns:
    """Keep stages in hand and say what is being done."""
    named = {one.run_id for one in beat.held}
    with service.database.write() as session:
        own = select_own_runs(session, caller, named)
        over = transitions.renew(session, [one for one in beat.held if one.run_id in own], service.leases)
    return StaleRuns(over=frozenset(over | named - own))


@router.post("/release", summary="Give back what was not begun", responses=problems(*AUTH_CODES))
def release(
    given_back: Release, request: Request, service: ServiceParts, caller: Worker, background: BackgroundTasks
) -> StaleRuns:
    """Put runs back to wait, for others to take."""
    named = {one.run_id for one in given_back.held}
    note_handled(request, "run", named)
    with service.database.write() as session:
        own = select_own_runs(session, caller, named)
        over = transitions.release(session, [one for one in given_back.held if one.run_id in own])
    background.add_task(_send, service, own)
    return StaleRuns(over=frozenset(over | named - own))


@router.put("/preprocessed", dependencies=[InBulk], summary="End preprocess stages", responses=problems(*AUTH_CODES))
def preprocessed(
    done: PreprocessedRuns, request: Request, service: ServiceParts, caller: Worker, background: BackgroundTasks
) -> StaleRuns:
    """Take what preprocessing left; the runs wait for prediction. The same again is no error."""
    note_handled(request, "run", done.runs)
    with service.database.write() as session:
        own = select_own_runs(session, caller, done.runs)
        over = transitions.store_all_preprocessed(session, {run: one for run, one in done.runs.items() if run in own})
        over |= done.runs.keys() - own
        remove_of_erased(session, over, done.runs)
    background.add_task(_send, service, done.runs.keys() - over)
    return StaleRuns(over=frozenset(over))


@router.put("/outcomes", dependencies=[InBulk], summary="End attempts", responses=problems(*AUTH_CODES))
def outcomes(ended: StoredOutcomes, request: Request, service: ServiceParts, caller: Worker) -> StaleRuns:
    """Take the answers of attempts. The same again is no error."""
    named = {one.run_id for one in ended.outcomes}
    note_handled(request, "run", named)
    with service.database.write() as session:
        own = select_own_runs(session, caller, named)
        said = {one.run_id: one.outcome for one in ended.outcomes if one.run_id in own}
        over = transitions.store_all_outcomes(session, said, service.leases)
    return StaleRuns(over=frozenset(over | named - own))


@router.put(
    "/runs/{run_id}/outcome",
    status_code=204,
    dependencies=[InBulk],
    summary="End an attempt",
    responses=problems("unknown_run", "attempt_over", *AUTH_CODES),
)
def outcome(
    run_id: str,
    ended: Annotated[Outcome, Body()],
    service: ServiceParts,
    caller: Worker,
    background: BackgroundTasks,
) -> None:
    """Take result, refusal or fault of an attempt. The same again is no error."""
    with service.database.write() as session:
        require_own_run(session, caller, run_id)
        transitions.store_outcome(session, run_id, ended, service.leases)
    background.add_task(_send, service, [run_id])


def _send(service: Service, run_ids: Collection[str]) -> None:
    send_waiting(service.database, service.broker, redispatch_s=service.settings.redispatch_s, run_ids=run_ids)
