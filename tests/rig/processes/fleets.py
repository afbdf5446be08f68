"""Workers as real processes beside the service's, and many studies that wait for them."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import insert

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import BundleRef, Priority
from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.tables import RunEventRow, RunRow, StudyRow
from rig.processes.service import Processes
from rig.service.work import BUNDLE, tar_of

SMALL_COPY = tar_of({"000000.dcm": b"slice" * 1000})


def add_waiting(
    processes: Processes,
    count: int,
    priority: Priority = Priority.COHORT,
    bundle: BundleRef = BUNDLE,
    working_copies: Sequence[bytes] = (SMALL_COPY,),
) -> list[str]:
    """``count`` studies with a queued run each, as the courier left them; run ids.

    ``working_copies`` are tars, taken in turn.
    """
    copies = [processes.store.put(f"working/copy-{n}.tar", data) for n, data in enumerate(working_copies)]
    database = processes.open_database()
    with database.write() as session:
        register_bundles(session, [bundle])
    now = database.now()
    run_ids = [str(uuid.uuid4()) for _ in range(count)]
    studies, runs, events = [], [], []
    for number, run_id in enumerate(run_ids):
        stored = copies[number % len(copies)]
        study_id = str(uuid.uuid4())
        studies.append(
            {
                "id": study_id,
                "site": "default",
                "digest": uuid.uuid4().hex * 2,
                "created_at": now,
                "files": 1,
                "skipped_files": 0,
                "working_status": "ready",
                "working_key": stored.key,
                "working_sha256": stored.sha256,
                "working_tries": 0,
            }
        )
        runs.append(
            {
                "id": run_id,
                "study_id": study_id,
                "bundle_digest": bundle.digest,
                "chosen_series": "",
                "status": "queued",
                "priority": CELERY_PRIORITY[priority],
                "attempt": 0,
                "tries": 0,
                "retries": 0,
                "alone": False,
                "created_at": now,
            }
        )
        events.append({"run_id": run_id, "at": now, "status": "queued", "attempt": 0})
    with database.write() as session:
        session.execute(insert(StudyRow), studies)
        session.execute(insert(RunRow), runs)
        session.execute(insert(RunEventRow), events)
    database.close()
    return run_ids


@contextmanager
def worker_process(
    processes: Processes, name: str, *command: str, cores: Iterable[int] | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """One worker for the service's ``processes``; ``command`` after python -m, default: the real one.

    ``cores``: the processors that it may use.
    """
    log = (processes.data_dir / f"{name}.log").open("wb")
    running = subprocess.Popen(
        [sys.executable, "-P", "-m", *(command or ("med3d_cli", "worker"))],
        env=os.environ
        | processes.environment
        | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("tests")),
            "MED3D_API_URL": processes.url,
            "MED3D_STORE_URL": processes.settings.store,
            "MED3D_WORKER_KEY": processes.worker_key,
            "MED3D_SCRATCH_DIR": str(processes.data_dir / f"scratch-{name}"),
            **environment,
        },
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=None if cores is None else (lambda: os.sched_setaffinity(0, cores)),  # noqa: PLW1509 - one thread
    )
    log.close()
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
