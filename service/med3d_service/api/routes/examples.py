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

STUDY_PATIENTS = {
    "study_id": STUDY_ID,
    "items": [
        {"patient_id": "P-1", "name": "Doe^Jane", "birth_date": "19700102"},
        {"patient_id": "P-2", "name": "Roe^Richard", "birth_date": "19651130"},
    ],
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
    "verdict": None,
}

VERDICT: dict[str, Any] = {
    "verdict_id": "7d1f0c9e-3a62-4f8e-9b0a-5d0f4f6f1b37",
    "verdict": "rejected",
    "why": "Movement artefacts in the frontal lobe.",
    "reader": "Dr. A. Reader",
    "given_by": "session:0a1b2c3d.11aa22bb33cc44dd",
    "given_at": "2026-01-05T11:30:00Z",
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
    "corrected_by": None,
    "runs": [{"run_id": RUN_ID, "status": "refused", "bundle": BUNDLE, "chosen_series": None, "superseded": False}],
}

EVENTS = f"""id: 17
event: run
data: {{"run_id": "{RUN_ID}", "status": "preprocessing", "stage": "bias field", "attempt": 1, "code": null,
data: "at": "2026-01-05T09:00:02Z"}}

"""

_MR, _SLICES = "1.2.840.10008.5.1.4.1.1.4", ("2.25.101", "2.25.102")


def _stored(*sops: str) -> dict[str, Any]:
    items = [{"00081150": {"vr": "UI", "Value": [_MR]}, "00081155": {"vr": "UI", "Value": [sop]}} for sop in sops]
    return {"00081199": {"vr": "SQ", "Value": items}}


def _not_stored(sop: str, reason: int) -> dict[str, Any]:
    (item,) = _stored(sop)["00081199"]["Value"]
    return {"00081198": {"vr": "SQ", "Value": [item | {"00081197": {"vr": "US", "Value": [reason]}}]}}


STORED_ALL = _stored(*_SLICES)
STORED_SOME = _not_stored(_SLICES[0], 0xC122) | _stored(_SLICES[1])
STORED_NONE = _not_stored(_SLICES[0], 0x0122)

PULL_ID = "0e6f9d0a-3c0e-4f0f-8a55-7d1b0c9a4f33"
PULL_TAKEN: dict[str, Any] = {"pull_id": PULL_ID, "status": "waiting", "links": {"pull": f"/pulls/{PULL_ID}"}}
PULL: dict[str, Any] = {
    "pull_id": PULL_ID,
    "status": "waiting",
    "source": "dicomweb",
    "peer": "archive",
    "origin": "request",
    "created_at": "2026-01-05T09:00:00Z",
    "ended_at": None,
    "tries": 2,
    "next_try_at": "2026-01-05T09:00:06Z",
    "fault": {"code": "peer_unreachable", "reason": "The peer does not answer."},
    "studies": [],
}

ARRIVALS: dict[str, Any] = {
    "items": [
        {
            "arrival_id": "b6c1b1f0-6f0b-4b7d-9a53-0f3c5c1d7e10",
            "pull_id": None,
            "state": "waiting_for_t1",
            "why": "It holds no usable T1-weighted series yet; without one it is answered then.",
            "code": None,
            "until": "2026-01-05T14:32:00Z",
            "inlet": "dimse",
            "ae_title": "SCANNER",
            "address": "10.1.2.3",
            "called_ae_title": "STROKE",
            "first_at": "2026-01-05T12:29:10Z",
            "last_at": "2026-01-05T12:31:00Z",
            "instances": 44,
            "expected": None,
            "rules": [{"rule": "every MR image", "instances": 44}],
            "study_id": STUDY_ID,
            "run_id": RUN_ID,
        }
    ],
    "announced": [],
    "turned_away": [
        {
            "reason": "caller_unknown",
            "address": "10.1.2.9",
            "ae_title": "OTHER",
            "count": 3,
            "first_at": "2026-01-05T12:00:00Z",
            "last_at": "2026-01-05T12:10:00Z",
        }
    ],
    "next_cursor": None,
}

COHORT: dict[str, Any] = {
    "cohort_id": "0d5d1cf4-9f0e-4a54-8d55-1f6b1d1d2b33",
    "name": "ms-clinic",
    "bundle": None,
    "schedule": {"start": "22:00:00", "end": "06:00:00", "time_zone": "Europe/Berlin"},
    "member_filter": None,
    "members": 136,
    "subjects": 136,
    "created_at": "2026-01-05T09:00:00Z",
    "next_night": "2026-01-05T21:00:00Z",
    "fault": None,
}

REPROCESSING: dict[str, Any] = {
    "reprocessing_id": "7c0a2b5e-54f3-4d29-8a40-1d5fb6b7c944",
    "cohort": "ms-clinic",
    "bundle": BUNDLE,
    "status": "running",
    "in_window": True,
    "retry_faults": False,
    "created_at": "2026-01-05T21:00:00Z",
    "ended_at": None,
}

PROGRESS: dict[str, Any] = {
    "cohort": "ms-clinic",
    "bundle": BUNDLE,
    "status": "running",
    "members": {
        "copying": 0, "waiting": 60, "queued": 20, "preprocessing": 2, "preprocessed": 3, "predicting": 0,
        "completed": 48, "refused": 2, "failed": 1,
    },
    "rate_per_s": 0.41,
    "seconds_left": 207.3,
    "slowest_stage": "bias field",
    "stages": [{"stage": "bias field", "mean_s": 1.97}],
    "problems": [{"status": "refused", "code": "not_a_head", "count": 2, "study_ids": [STUDY_ID]}],
    "workers": 2,
    "next_night": None,
}  # fmt: skip

_MEAN = {"mean": -0.42, "lower": -0.71, "upper": -0.13}
_NONE = {"count": 0, "members": []}
DIFF: dict[str, Any] = {
    "cohort": "ms-clinic",
    "first": BUNDLE,
    "second": BUNDLE | {"version": "0.2.0", "digest": "5c" * 32},
    "members": 136,
    "both": 134,
    "only_first_ran": 0,
    "brain_age_shift": {
        "pairs": 134, "shift": _MEAN, "sd": 1.7, "median": -0.4, "limits_of_agreement": [-3.75, 2.91], "slope": 0.01,
        "correlation": 0.993, "largest": 6.2,
    },
    "brain_age_accuracy": {
        "people": 134, "mae": [6.84, 6.41], "mae_change": _MEAN, "bias": [0.1, -0.3], "correlation": [0.86, 0.87],
    },
    "sdmt_shift": None,
    "sdmt_accuracy": None,
    "sdmt_evidence": [],
    "newly_refused": {"count": 1, "members": [{"study_id": STUDY_ID, "before": "43.1 years", "after": "too_noisy"}]},
    "newly_accepted": _NONE,
    "newly_failed": _NONE,
    "decision_changes": _NONE,
    "gap_years": 10.0,
    "gap_crossings": _NONE,
    "unknown_sites": [0, 0],
    "drift": [{"scan_site": "HH", "scanner": None, "before": 0, "recent": 136, "measures": []}],
}  # fmt: skip

SUMMARY: dict[str, Any] = {
    "cohort": "ms-clinic",
    "bundle": BUNDLE,
    "members": {"completed": 134, "refused": 2},
    "without_number": [{"status": "refused", "code": "too_noisy", "count": 2, "study_ids": [STUDY_ID]}],
    "people": 130,
    "to_review": 12,
    "mean_absolute_error": {"mean": 5.9, "lower": 5.2, "upper": 6.6},
    "mean_gap": {"mean": 1.2, "lower": 0.1, "upper": 2.3},
    "correlation": 0.88,
    "rejected": 1,
    "ageless": 3,
    "training_scans": 0,
    "farthest": [{"run_id": RUN_ID, "age": 41.2, "brain_age": 66.0, "gap": 24.8, "decision": "review"}],
}  # fmt: skip

SUBJECT_ID = "6f" * 32
TRAJECTORY: dict[str, Any] = {
    "subject_id": SUBJECT_ID,
    "bundle": BUNDLE,
    "time_basis": "age",
    "visits": [
        {
            "study_id": STUDY_ID, "run_id": RUN_ID, "visit": "v1", "time": 41.2, "age": 41.2, "brain_age": 43.0,
            "brain_age_interval": [27.9, 58.1], "gap": 1.8, "sdmt": None, "sdmt_interval": None, "sdmt_measured": 58.0,
            "decision": "accepted", "code": None, "acquisition_known": True, "breaks": [],
        }
    ],
    "reliable_changes": [],
    "test_retest_known": False,
}  # fmt: skip
