"""Everything one worker child works with, put together once, after the fork."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from med3d_client.worker import ApiError, ApiUnavailable, Superseded, WorkerClient
from med3d_contract.work import WorkerHello, WorkerIdentity
from med3d_store.object_store import ObjectStore
from med3d_worker.heads.head_prediction import HeadPrediction
from med3d_worker.heads.head_volumes import HeadVolumes
from med3d_worker.heads.pictures import PictureStore, publish_cohort
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.model.bundle_card import publish_card
from med3d_worker.model.calibrations import CalibrationShelf
from med3d_worker.model.loaded_model import LoadedModel, load_model
from med3d_worker.preparing.preparation import StudyPreparation
from med3d_worker.scratch import Scratch
from med3d_worker.settings import WorkerSettings
from med3d_worker.stages.appraisal import StudyAppraisal
from med3d_worker.stages.explanation_stage import ExplanationStage
from med3d_worker.stages.outcomes import OutcomeDelivery, publish_outcomes
from med3d_worker.stages.predict_stage import PredictStage
from med3d_worker.stages.preprocess_stage import PreprocessStage
from med3d_worker.stages.volumes_stage import VolumesStage

log = structlog.get_logger()


@dataclass(frozen=True)
class Workplace:
    """The use cases, ready to be called."""

    preprocess: Callable[[str], None]
    appraise: Callable[[str], None]
    predict: Callable[[], bool]  # whether more may wait
    publish: Callable[[str, int], None]
    explain: Callable[[str], None]
    make_volumes: Callable[[str], None]


def open_workplace(settings: WorkerSettings, send_publish: Callable[[str, int], None]) -> Workplace:
    """Load and check the model, connect, start saying hello. Raises what makes it unfit."""
    scratch = Scratch(settings.scratch_dir)
    if reclaimed := scratch.reclaim():
        log.info("scratch_reclaimed", folders=reclaimed)
    model = load_model(settings)
    worker = _identity(model)
    api = WorkerClient(settings.api_url, settings.key())
    store = ObjectStore.join(settings.store_url)
    tensors = TensorCache(store)
    delivery = OutcomeDelivery(api, store, send_publish)
    publish_cohort(store, model.reference.digest, model.cohort)
    if model.card is not None:
        publish_card(store, model.card)
    prepare = StudyPreparation(model, tensors, PictureStore(store, deface=settings.deface))
    preprocess = PreprocessStage(api, store, scratch, prepare, delivery, worker, settings.heartbeat_s)
    head_prediction = HeadPrediction(model.predictor, settings.allow_demonstration_heads)
    predict = PredictStage(
        api,
        tensors,
        head_prediction,
        delivery,
        worker,
        model.quality_limits,
        settings.predict_batch,
        settings.heartbeat_s,
        open_calibrations=CalibrationShelf(settings, model.reference.digest, model.predictor.space),
    )
    hello = WorkerHello(worker=worker, queues=settings.queue_names)
    said = api, hello, settings.heartbeat_s, settings.alive_file
    threading.Thread(target=_say_hello, args=said, name="hello", daemon=True).start()
    explain = ExplanationStage(api, store, tensors, model.explainer, model.reference.digest)
    publish = partial(publish_outcomes, api, store)
    head_volumes = HeadVolumes(model.preprocessor, model.explainer, settings.deface)
    make_volumes = VolumesStage(
        api, store, scratch, tensors, head_volumes, model.reference.digest, deface=settings.deface
    )
    return Workplace(preprocess, StudyAppraisal(api, store, scratch), predict, publish, explain, make_volumes)


def _identity(model: LoadedModel) -> WorkerIdentity:
    return WorkerIdentity(
        worker_id=f"worker-{uuid.uuid4().hex[:12]}",
        software=model.software,
        providers=model.providers,
        bundles=(model.reference,),
        preprocessing_digests={model.reference.digest: model.preprocessing_digest},
    )


def _say_hello(api: WorkerClient, hello: WorkerHello, every_s: float, alive_file: Path | None = None) -> None:
    """Go on until the process ends. The first answer, and every change between answering and not, is logged."""
    pause = threading.Event()
    heard: bool | None = None
    while True:
        try:
            api.hello(hello)
            now_heard = True
        except (ApiUnavailable, ApiError, Superseded) as error:
            now_heard = False
            if heard is not now_heard:
                log.warning("hello_not_heard", error=str(error))
        if now_heard and heard is not now_heard:
            log.info("hello_heard", worker_id=hello.worker.worker_id)
        if now_heard and alive_file is not None:
            with suppress(OSError):  # a full disk stops no work
                alive_file.touch(mode=0o640)
        heard = now_heard
        pause.wait(every_s if now_heard else min(1.0, every_s))
