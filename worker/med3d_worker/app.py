"""The worker process: Celery's parent stays light, each child builds its own workplace after the fork."""

import mmap
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from billiard import current_process
from celery import Celery, signals

from med3d_contract.queues import CELERY_PRIORITY, PUBLISH_RESULT, celery_settings
from med3d_contract.results import Priority
from med3d_pipeline.errors import PipelineError
from med3d_store.object_store import StoreAwayError, StoreError
from med3d_worker.process.library_threads import limit_library_threads
from med3d_worker.process.logs import configure_logs
from med3d_worker.process.messages import use_careful_transport
from med3d_worker.process.store_wait import wait_for_store
from med3d_worker.process.tether import die_with_parent
from med3d_worker.settings import WorkerSettings
from med3d_worker.tasks import register_tasks

if TYPE_CHECKING:
    from med3d_worker.workplace import Workplace

MODEL_LOADING_TIMEOUT_S = 300.0


class WorkerUnfit(Exception):  # noqa: N818 - a state, for the operator to mend
    """A child could not be made ready. ``lasting``: starting again will not help, as with an altered bundle."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


class UnfitReport:
    """What a child leaves for its parent: why it must not work. Shared memory, so made before the fork."""

    SIZE_BYTES = 4096
    LASTING, PASSING = b"L", b"P"

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, self.SIZE_BYTES)

    def write(self, reason: str, *, lasting: bool) -> None:
        """Leave the sentence, cut to what fits."""
        data = (self.LASTING if lasting else self.PASSING) + reason.encode()[: self.SIZE_BYTES - 2]
        self._shared[: len(data)] = data

    def read(self) -> WorkerUnfit | None:
        """Return the fault; None where every child was fit."""
        data = bytes(self._shared).rstrip(b"\0")
        return WorkerUnfit(data[1:].decode(errors="replace"), lasting=data[:1] == self.LASTING) if data else None


SendPublish = Callable[[str, int], None]
Opens = Callable[[WorkerSettings, SendPublish], "Workplace"]


def _open_workplace(settings: WorkerSettings, send_publish: SendPublish) -> "Workplace":
    from med3d_worker.workplace import open_workplace  # heavy, with threads of its own: not before the fork

    return open_workplace(settings, send_publish)


def is_lasting(error: Exception) -> bool:
    """Tell whether a worker that cannot start for ``error`` need not be started again.

    A store that is away comes back.
    """
    if isinstance(error, StoreAwayError):
        return False
    return isinstance(error, (PipelineError, StoreError, OSError, ValueError))


@dataclass
class ChildProcess:
    """What a child of the pool holds: filled after the fork, empty in the parent."""

    settings: WorkerSettings
    opens: Opens = _open_workplace
    parent_pid: int = field(default_factory=os.getpid)
    unfit: UnfitReport = field(default_factory=UnfitReport)
    workplace: "Workplace | None" = None

    def start(self, app: Celery) -> None:
        """Build the workplace. An unfit child takes no work and ends its parent, which says why."""
        die_with_parent(self.parent_pid)
        try:
            self.workplace = self.opens(self.settings.of_process(_place_in_pool()), partial(_send_publish, app))
        except Exception as error:  # noqa: BLE001 - the edge: Celery would log it and let the child take work
            self.unfit.write(str(error) or type(error).__name__, lasting=is_lasting(error))
            os.kill(self.parent_pid, signal.SIGTERM)


def make_celery(settings: WorkerSettings, workplace: "Callable[[], Workplace | None]") -> Celery:
    """Return the Celery application with the worker's tasks, which work with what ``workplace`` gives in each child."""
    use_careful_transport()
    app = Celery("med3d_worker")
    app.conf.update(celery_settings(settings.broker()))
    app.conf.update(
        broker_connection_max_retries=None,  # a broker may be away for as long as it likes
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=MODEL_LOADING_TIMEOUT_S,
        worker_max_memory_per_child=settings.child_memory_kib,
    )
    register_tasks(app, workplace)
    return app


def await_store(settings: WorkerSettings) -> None:
    """Wait until the store is there. Raises WorkerUnfit where there can be none."""
    try:
        wait_for_store(settings.store_url)
    except StoreError as error:
        raise WorkerUnfit(f"MED3D_STORE_URL: {error}", lasting=True) from error


def run_worker(settings: WorkerSettings, *, log_level: str = "INFO", opens: Opens = _open_workplace) -> int:
    """Take tasks until SIGTERM or SIGINT; the exit code. Raises WorkerUnfit where no work may be done.

    ``opens`` makes what each child works with.
    """
    configure_logs(log_level)
    limit_library_threads(settings.threads)
    await_store(settings)
    child = ChildProcess(settings, opens)
    app = make_celery(settings, lambda: child.workplace)

    def start_child(**_: object) -> None:
        child.start(app)

    signals.worker_process_init.connect(start_child, weak=False)
    worker = app.Worker(
        hostname=f"med3d-{os.getpid()}@worker",
        queues=",".join(settings.queue_names),
        concurrency=settings.processes,
        pool="prefork",
        loglevel=log_level,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    if unfit := child.unfit.read():
        raise unfit
    return int(worker.exitcode or 0)


def _place_in_pool() -> int:
    """Return the number of this process in its pool; one that replaces another takes its place."""
    return int(getattr(current_process(), "index", 0) or 0)


def _send_publish(app: Celery, run_id: str, attempt: int) -> None:
    priority = CELERY_PRIORITY[Priority.STAT]  # a finished answer waits for nobody
    app.send_task(PUBLISH_RESULT, args=(run_id, attempt), priority=priority, retry=False)
