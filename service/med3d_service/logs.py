"""JSON lines on stderr. Events carry our ids only: never a file name, a free text of the sender or an identifier."""

import logging
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import structlog

from med3d_contract.log_stream import make_log_stream

MAX_FRAMES = 20
TOLD_EVERY_S = 10.0


def frames_only(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show an exception as its kind and where it came from: its message may quote what identifies a patient."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        event["exception"] = type(error).__name__
        event["frames"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def configure_logging() -> None:
    """Let this process log JSON lines to stderr, its libraries from WARNING on."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, frames_only, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(make_log_stream(sys.stderr)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                frames_only,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # pydicom, highdicom and pynetdicom quote what a peer sent in their warnings and errors; what matters of it we say.
    for quoting in ("pydicom", "pynetdicom"):
        logging.getLogger(quoting).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    logging.getLogger("uvicorn.access").disabled = True


def log_to_stderr() -> None:
    """Send the log lines of a command to stderr: stdout is its answer. A log that was configured stays as it is."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.WriteLogger(sys.stderr))


class Tally:
    """Counts what anybody may cause, so that a flood of it makes one line in TOLD_EVERY_S and not one each.

    The first is told at once; those that follow are told with the first one after the pause.
    """

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event, self._clock = event, clock
        self._lock, self._counts = threading.Lock(), Counter[str]()
        self._told_at = float("-inf")

    def count(self, what: str) -> None:
        """Count one more of ``what``."""
        with self._lock:
            self._counts[what] += 1
            if self._clock() - self._told_at < TOLD_EVERY_S:
                return
            self._told_at, counts = self._clock(), dict(self._counts)
            self._counts.clear()
        structlog.get_logger().warning(self._event, **counts)
