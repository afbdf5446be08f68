"""The Celery tasks: ids in, use cases called, nothing else."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from med3d_client.worker import ApiUnavailable
from med3d_contract.backoff import Backoff
from med3d_contract.queues import (
    APPRAISE_STUDY,
    EXPLAIN_RUN,
    MAKE_VOLUMES,
    PREDICT_READY,
    PREPROCESS_RUN,
    PUBLISH_RESULT,
)
from med3d_store.object_store import StoreError

if TYPE_CHECKING:
    from med3d_worker.workplace import Workplace

PUBLISH_BACKOFF = Backoff(first_s=1.0, longest_s=60.0)


def register_tasks(app: Celery, workplace: "Callable[[], Workplace | None]") -> None:
    """Bind the tasks to ``app``. ``workplace`` gives what this child process works with; None where it is unfit."""

    def here() -> "Workplace":
        found = workplace()
        if found is None:
            raise Reject("this worker is unfit", requeue=True)
        return found

    @app.task(name=PREPROCESS_RUN, shared=False)  # type: ignore[untyped-decorator]
    def preprocess_run(run_id: str) -> None:
        here().preprocess(run_id)

    @app.task(name=APPRAISE_STUDY, shared=False)  # type: ignore[untyped-decorator]
    def appraise_study(study_id: str) -> None:
        here().appraise(study_id)

    _register_showing(app, here)

    @app.task(name=PREDICT_READY, shared=False, bind=True)  # type: ignore[untyped-decorator]
    def predict_ready(self: Any) -> None:
        if here().predict():  # what one claim did not hold is for the next task, after whatever is more urgent
            priority = (self.request.delivery_info or {}).get("priority")
            with contextlib.suppress(OperationalError):  # the broker is away: the service's sweep sends one
                self.app.send_task(PREDICT_READY, priority=priority, retry=False)

    @app.task(name=PUBLISH_RESULT, shared=False, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def publish_result(self: Any, run_id: str, attempt: int) -> None:
        try:
            here().publish(run_id, attempt)
        except (ApiUnavailable, StoreError) as error:
            pause_s = PUBLISH_BACKOFF.pause_s(self.request.retries + 1)
            raise self.retry(exc=error, countdown=pause_s) from error


def _register_showing(app: Celery, here: "Callable[[], Workplace]") -> None:
    """Bind the tasks for who looks at a run."""

    @app.task(name=EXPLAIN_RUN, shared=False)  # type: ignore[untyped-decorator]
    def explain_run(run_id: str) -> None:
        here().explain(run_id)

    @app.task(name=MAKE_VOLUMES, shared=False)  # type: ignore[untyped-decorator]
    def make_volumes(run_id: str) -> None:
        here().make_volumes(run_id)
