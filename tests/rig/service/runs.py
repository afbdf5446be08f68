"""Runs as GET /runs/{id} shows them."""

from datetime import UTC, datetime
from typing import Any

from med3d_contract.results import Priority, RunStatus, RunView
from rig.service.work import BUNDLE, PROVENANCE, QUALITY, SERIES, result


def run_view(run_id: str = "run-1", status: RunStatus = RunStatus.COMPLETED, **changes: Any) -> RunView:
    """A run with everything that its status brings."""
    done = status is RunStatus.COMPLETED
    now = datetime(2026, 1, 5, 9, tzinfo=UTC)
    fields: dict[str, Any] = {
        "run_id": run_id,
        "study_id": "study-1",
        "status": status,
        "stage": None,
        "attempt": 1,
        "priority": Priority.ROUTINE,
        "created_at": now,
        "started_at": now,
        "finished_at": now if status.is_terminal else None,
        "bundle": BUNDLE,
        "refusal": None,
        "failure": None,
        "series": SERIES,
        "quality": QUALITY,
        "provenance": PROVENANCE,
        "result": result() if done else None,
    }
    return RunView(**(fields | changes))
