"""What workers say: hello, claims, heartbeats and how stages end. The words are med3d_contract.work's."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

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
    Preprocessed,
    WorkerHello,
)
from med3d_service.access import Worker
from med3d_service.arrival_tables import AppraisalRow
from med3d_service.bundles import note_preprocessing, register_bundles
from med3d_service.composition import Service
from med3d_service.database import db_now
from med3d_service.dispatch import send_waiting
from med3d_service.intake.clock import COPIED
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.routes import ServiceParts
from med3d_service.runs import transitions
from med3d_service.runs.views import bundle_ref, priority_of, subject_with_site
from med3d_service.tables import BundleRow, RunRow, StudyRow, WorkerRow


async def _same_contract(request: Request) -> None:
    """Refuse another version by name, before its unknown words are judged."""
    try:
        body = await request.json()
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


@router.post(
    "/hello",
    status_code=204,
    dependencies=[SameContract],
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
            )
        )


@router.post(
    "/runs/{run_id}/claim",
    dependencies=[SameContract],
    summary="Claim the preprocess stage of a run",
    responses=problems("unknown_run", "not_claimable", "bundle_not_held", "contract_version_mismatch", *AUTH_CODES),
)
def claim_preprocess(run_id: str, request: ClaimRequest, service: ServiceParts, _caller: Worker) -> PreprocessClaim:
    """Hand out the stage with its attempt number and lease, if it waits."""
    with service.database.write() as session:
        run = transitions.claim_preprocess(session, run_id, request.worker, service.leases)
        study = _study_of(session, run)
        assert study.working_key is not None
        assert study.working_sha256 is not None
        return PreprocessClaim(
            run_id=run.id,
            study_id=run.study_id,
            attempt=run.attempt,
            lease_s=service.leases.lease_s,
            priority=priority_of(run),
            bundle=bundle_ref(session.get_one(BundleRow, run.bundle_digest)),
            working_copy_key=study.working_key,
            working_copy_sha256=study.working_sha256,
            chosen_series=run.chosen_series or None,
            subject=subject_with_site(session, study),
        )


@router.get(
    "/studies/{study_id}/appraisal",
    summary="A study whose series shall be looked at",
    responses=problems("unknown_study", "not_claimable", *AUTH_CODES),
)
def appraisal_request(study_id: str, service: ServiceParts, _caller: Worker) -> AppraisalRequest:
    """Say where the working copy lies, while the appraisal is needed."""
    with service.database.read() as session:
        study, appraisal = _appraised(session, study_id)
        if appraisal.eligible is not None or study.working_key is None or study.working_sha256 is None:
            raise ServiceError("not_claimable")
        return AppraisalRequest(working_copy_key=study.working_key, working_copy_sha256=study.working_sha256)


@router.put(
    "/studies/{study_id}/appraisal",
    status_code=204,
    summary="Which series of a study can be analysed",
    responses=problems("unknown_study", *AUTH_CODES),
)
def appraised(study_id: str, found: Appraisal, service: ServiceParts, _caller: Worker) -> None:
    """Take a worker's finding, unless the working copy has changed since."""
    with service.database.write() as session:
        study, appraisal = _appraised(session, study_id)
        if study.working_sha256 == found.working_copy_sha256 and study.working_status in COPIED:
            appraisal.eligible = sorted(set(found.eligible))


def _appraised(session: Session, study_id: str) -> tuple[StudyRow, AppraisalRow]:
    study = session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one_or_none()
    appraisal = session.get(AppraisalRow, study_id)
    if study is None or appraisal is None:
        raise ServiceError("unknown_study")
    return study, appraisal


@router.post(
    "/claims/predict",
    dependencies=[SameContract],
    summary="Claim the predict stage of several runs of one bundle",
    responses=problems("contract_version_mismatch", *AUTH_CODES),
)
def claim_predict(request: PredictClaimRequest, service: ServiceParts, _caller: Worker) -> PredictClaims:
    """Hand out up to ``limit`` preprocessed runs of one bundle; none is no error."""
    with service.database.write() as session:
        runs = transitions.claim_predict(session, request.worker, request.limit, service.leases)
        return PredictClaims(claims=tuple(_predict_claim(session, service, run) for run in runs))


def _predict_claim(session: Session, service: Service, run: RunRow) -> PredictClaim:
    return PredictClaim(
        run_id=run.id,
        study_id=run.study_id,
        attempt=run.attempt,
        lease_s=service.leases.lease_s,
        bundle=bundle_ref(session.get_one(BundleRow, run.bundle_digest)),
        subject=subject_with_site(session, _study_of(session, run)),
        preprocessed=Preprocessed.model_validate(run.preprocessed),
    )


def _study_of(session: Session, run: RunRow) -> StudyRow:
    return session.query(StudyRow).where(StudyRow.id == run.study_id).one()


@router.post(
    "/runs/{run_id}/heartbeat",
    status_code=204,
    summary="Renew the lease of an attempt",
    responses=problems("attempt_over", *AUTH_CODES),
)
def heartbeat(run_id: str, beat: Heartbeat, service: ServiceParts, _caller: Worker) -> None:
    """Keep a stage in hand and say what is being done."""
    with service.database.write() as session:
        transitions.renew(session, run_id, beat.attempt, beat.stage, service.leases)


@router.put(
    "/runs/{run_id}/preprocessed",
    status_code=204,
    summary="End the preprocess stage",
    responses=problems("unknown_run", "attempt_over", *AUTH_CODES),
)
def preprocessed(
    run_id: str, done: Preprocessed, service: ServiceParts, _caller: Worker, background: BackgroundTasks
) -> None:
    """Take what preprocessing left; the run waits for prediction. The same again is no error."""
    with service.database.write() as session:
        transitions.store_preprocessed(session, run_id, done)
    background.add_task(_send, service, run_id)


@router.put(
    "/runs/{run_id}/outcome",
    status_code=204,
    summary="End an attempt",
    responses=problems("unknown_run", "attempt_over", *AUTH_CODES),
)
def outcome(
    run_id: str,
    ended: Annotated[Outcome, Body()],
    service: ServiceParts,
    _caller: Worker,
    background: BackgroundTasks,
) -> None:
    """Take result, refusal or fault of an attempt. The same again is no error."""
    with service.database.write() as session:
        transitions.store_outcome(session, run_id, ended, service.leases)
    background.add_task(_send, service, run_id)


def _send(service: Service, run_id: str) -> None:
    send_waiting(service.database, service.broker, redispatch_s=service.settings.redispatch_s, run_id=run_id)
