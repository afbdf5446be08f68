"""What a webhook is told of an answer: our ids and the numbers, never who the patient is."""

import json
from typing import Any

from med3d_contract.results import Estimate, Interval
from med3d_service.results.reports.facts import ReportFacts


def event_json(facts: ReportFacts, event_id: str) -> bytes:
    """Write the event of an answer; the same facts give the same bytes."""
    event: dict[str, Any] = {
        "event_id": event_id,
        "type": "run.completed" if facts.result is not None else "run.refused",
        "occurred_at": facts.answered_at.isoformat(),
        "run_id": facts.run_id,
        "study_id": facts.study_id,
        "supersedes_run_id": facts.predecessor,
        "bundle": facts.bundle.model_dump(mode="json"),
        "decision": facts.decision,
        "reasons": [reason.model_dump() for reason in facts.reasons],
        "brain_age": _brain_age(facts),
        "sdmt": _sdmt(facts),
        "research_use_only": True,
        "links": {"run": f"/runs/{facts.run_id}", "fhir": f"/runs/{facts.run_id}/fhir"},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _brain_age(facts: ReportFacts) -> dict[str, Any] | None:
    if facts.result is None:
        return None
    age = facts.result.brain_age
    return {
        "unit": age.unit,
        "estimate": age.estimate,
        "interval": _interval(age.interval),
        "gap": _estimate(age.gap),
        "gap_corrected": _estimate(age.gap_corrected),
        "calibrated_for": facts.calibrated_for,
    }


def _sdmt(facts: ReportFacts) -> dict[str, Any] | None:
    if facts.result is None or facts.result.sdmt is None:
        return None
    return facts.result.sdmt.model_dump(mode="json")


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {"estimate": estimate.estimate, "interval": _interval(estimate.interval)}


def _interval(interval: Interval) -> dict[str, float]:
    return {"level": interval.level, "lower": interval.lower, "upper": interval.upper}
