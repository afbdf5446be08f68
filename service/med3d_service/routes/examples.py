"""What answers look like: the examples in the OpenAPI document."""

from typing import Any

STUDY_ID = "5a1f6a52-7c39-4e3e-9f0c-2f8f1f0d9a11"
RUN_ID = "c0b6e1ce-0a5e-4b61-8f1e-5a2b4e7d3c22"
BUNDLE = {"name": "infovae-ixi", "version": "0.1.0", "digest": "4b" * 32}
LINKS = {
    "study": f"/studies/{STUDY_ID}",
    "run": f"/runs/{RUN_ID}",
    "events": f"/runs/{RUN_ID}/events",
}

SUBMITTED: dict[str, Any] = {"study_id": STUDY_ID, "run_id": RUN_ID, "status": "queued", "links": LINKS}

RUN: dict[str, Any] = {
    "run_id": RUN_ID,
    "study_id": STUDY_ID,
    "status": "refused",
    "stage": None,
    "attempt": 1,
    "priority": "routine",
    "created_at": "2026-01-05T09:00:00Z",
    "started_at": "2026-01-05T09:00:01Z",
    "finished_at": "2026-01-05T09:00:04Z",
    "bundle": BUNDLE,
    "refusal": {
        "code": "no_t1w_series",
        "reason": "No series of the study is a T1-weighted 3D acquisition. Send a study with an MPRAGE, BRAVO or TFE.",
        "details": {},
    },
    "failure": None,
    "series": {
        "chosen": None,
        "candidates": [{"label": "series 4: 2D T1w", "score": 0.2, "reasons": ["slices lie 4.8 mm apart"]}],
    },
    "quality": None,
    "provenance": None,
    "result": None,
}

STUDY: dict[str, Any] = {
    "study_id": STUDY_ID,
    "created_at": "2026-01-05T09:00:00Z",
    "files": 178,
    "skipped_files": 2,
    "subject": "S-0042",
    "age": {"years": 63.4, "source": "form", "note": None},
    "sex": "F",
    "working_copy": "ready",
    "runs": [{"run_id": RUN_ID, "status": "refused", "bundle": BUNDLE, "chosen_series": None, "superseded": False}],
}

EVENTS = f"""id: 17
event: run
data: {{"run_id": "{RUN_ID}", "status": "preprocessing", "stage": "bias field", "attempt": 1, "code": null,
data: "at": "2026-01-05T09:00:02Z"}}

"""
