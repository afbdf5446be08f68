"""Whether the service is ready: looked at now and then, however often it is asked."""

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import func, select

from med3d_contract.results import Frozen
from med3d_service.api.service import Service
from med3d_service.runs.queueing.stranded import carried_bundles
from med3d_service.storage.database import now_of
from med3d_service.storage.store_identity import establish_store, require_recorded
from med3d_service.storage.tables import BundleRow, WorkerRow

log = structlog.get_logger()
STUCK_S = 15.0


class Check(Frozen):
    """One thing that must be there; ``why`` says what is wrong."""

    ok: bool
    why: str | None


class Readiness(Frozen):
    """Whether a study sent now would be worked on."""

    ready: bool
    database: Check
    broker: Check
    store: Check
    worker: Check


OK = Check(ok=True, why=None)


class Probe:
    """Looks at all parts at most once in ``fresh_s``: anybody may ask, and each look writes."""

    def __init__(
        self, look: Callable[[], Readiness], fresh_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look, self._fresh_s, self._clock = look, fresh_s, clock
        self._looking = threading.Lock()
        self._seen: tuple[float, Readiness] | None = None

    def readiness(self) -> Readiness:
        """Return what was seen last, or what is seen now where that is too old. One looks.

        The others do not wait for it.
        """
        seen = self._seen
        if seen is not None and self._clock() - seen[0] < self._fresh_s:
            return seen[1]
        if not self._looking.acquire(blocking=seen is None):
            return self._while_looking()
        try:
            if self._seen is seen:  # nobody looked while this one waited
                found = self._look()
                self._seen = (self._clock(), found)
            assert self._seen is not None
            return self._seen[1]
        finally:
            self._looking.release()

    def _while_looking(self) -> Readiness:
        assert self._seen is not None
        age_s, seen = self._clock() - self._seen[0], self._seen[1]
        if age_s < self._fresh_s + STUCK_S:
            return seen
        stuck = Check(ok=False, why=f"the last look has been under way for {age_s:.0f} s")
        return seen.model_copy(update={"ready": False, "store": stuck})


def look_at(service: Service) -> Readiness:
    """Look at each part."""
    database = _checked("database", service.database.now, "the database does not answer")
    unknown = Check(ok=False, why="unknown without the database")
    broker = _checked("broker", service.broker.check, "the broker does not answer")
    store = _store(service) if database.ok else unknown
    worker = _worker(service) if database.ok else unknown
    ready = all(check.ok for check in (database, broker, store, worker))
    return Readiness(ready=ready, database=database, broker=broker, store=store, worker=worker)


def _store(service: Service) -> Check:
    def look() -> None:
        establish_store(service.settings, service.database)
        require_recorded(service.store, service.database)
        service.store.check()

    return _checked("store", look, "the store takes and gives no objects")


def _checked(name: str, look: Callable[[], object], why: str) -> Check:
    try:
        look()
    except Exception as error:  # noqa: BLE001 - the edge: whatever is wrong, the answer is that it is
        log.warning("not_ready", part=name, kind=type(error).__name__)
        return Check(ok=False, why=f"{why} ({type(error).__name__})")
    return OK


def _worker(service: Service) -> Check:
    with service.database.read() as session:
        carried = carried_bundles(session, service.settings.worker_silent_s)
        default = session.scalars(select(BundleRow).where(BundleRow.is_default)).first()
        newest = session.execute(select(func.max(WorkerRow.seen_at))).scalar_one()
        now = now_of(session)
    if newest is None:
        return Check(ok=False, why="no worker has said hello yet")
    silent_s = now - newest
    if silent_s > service.settings.worker_silent_s:
        return Check(ok=False, why=f"no worker has been heard of for {silent_s:.0f} s")
    if default is not None and default.digest not in carried:
        named = f"{default.name} {default.version} ({default.digest[:12]})"
        return Check(ok=False, why=f"no live worker carries the default bundle, {named}")
    return OK
