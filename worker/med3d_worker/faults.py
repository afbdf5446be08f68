"""From an exception to what the results API is told: a code, a sentence, and whether another attempt is worth it."""

import errno
import traceback
from pathlib import Path

from celery.exceptions import SoftTimeLimitExceeded

from med3d_client.worker import ApiUnavailable
from med3d_contract.results import Failure
from med3d_pipeline.errors import BundleError, InferenceError
from med3d_store.object_store import ObjectDamagedError, ObjectMissingError, StoreError, StoreFullError

FAULTS: tuple[tuple[type[BaseException], str, str], ...] = (
    (SoftTimeLimitExceeded, "time_limit", "the stage took longer than its time limit"),
    (MemoryError, "out_of_memory", "the worker ran out of memory"),
    (InferenceError, "inference_failed", "the model's runtime failed"),
    (BundleError, "bundle_invalid", "the worker's model bundle cannot be used"),
    (ObjectDamagedError, "object_damaged", "an object in the store does not have the digest it was stored with"),
    (ObjectMissingError, "object_missing", "an object is missing from the store"),
    (StoreFullError, "disk_full", "no room is left in the object store"),
    (StoreError, "store_unavailable", "the object store cannot be used"),
    (ApiUnavailable, "api_unavailable", "the results API did not answer"),
)


def failure_of(error: BaseException) -> Failure:
    """Return what to report of ``error``. Its text stays here: messages of libraries may quote headers and paths."""
    for kind, code, reason in FAULTS:
        if isinstance(error, kind):
            return Failure(code=code, reason=reason, retryable=True)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Failure(code="disk_full", reason="no room is left for the worker's scratch files", retryable=True)
    reason = f"an unexpected {type(error).__name__}{_place(error)}"
    return Failure(code="internal_error", reason=reason, retryable=True)


def _place(error: BaseException) -> str:
    """Tell where in our own code: a file's name and a line say much and identify nobody."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "med3d_" in frame.filename]
    return f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
