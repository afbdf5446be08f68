"""Calibrations in the service: kept, listed, handed to workers with the runs of their own site, withdrawn."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from med3d_contract.results import BundleRef
from med3d_contract.work import PredictClaims
from med3d_pipeline.calibration import site_calibration
from med3d_pipeline.calibration.site_calibration import BundleName, SiteCalibration
from med3d_service.runs import transitions
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.calibrations import FOR_WORKERS_ALONE, LEAST_HEADS, calibrations_for, stored_calibration
from med3d_service.storage.database import Database
from med3d_service.storage.tables import CalibrationRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.tables import AuditRow
from rig.science.calibrations import calibration
from rig.service.api import empty_api
from rig.service.parts import LEASES, add_run, preprocessed, worker
from rig.service.work import BUNDLE

NEXT = BundleRef(name="bundle", version="2", digest="e" * 64)
SIGNATURE = bytes(range(64))


def file_of(site="Ward 3", bundle=BUNDLE, **more):
    said = {
        "format": 1, "site": site, "bundle": {"digest": bundle.digest}, "heads": 24, "created": day(0),
        "expires": day(300),
    }  # fmt: skip
    return json.dumps(said | more).encode()


def day(from_today):
    return (datetime.now(UTC).date() + timedelta(days=from_today)).isoformat()


def body(content, signature=SIGNATURE):
    return {"file": base64.b64encode(content).decode(), "signature": base64.b64encode(signature).decode()}


@pytest.fixture
def api(tmp_path):
    made = empty_api(tmp_path)
    made.ids["run"] = add_run(made.service.database)
    yield made
    made.close()


def send(api, content, key=None, **more):
    return api.request("POST", "/calibrations", key or api.key(Role.OPERATOR), json=body(content, **more))


def audited(api):
    with api.service.database.read() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.seq)).all()
    return [(row.action, row.object_id) for row in rows if row.object_kind == "calibration"]


def claimed(api):
    """What a worker gets when the run waits for prediction."""
    run_id = api.ids["run"]
    with api.service.database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_all_preprocessed(session, {run_id: preprocessed(run.attempt)})
    wanted = {"worker": worker().model_dump(mode="json"), "limit": 4}
    answer = api.request("POST", "/worker/claims/predict", api.key(Role.WORKER), json=wanted)
    return PredictClaims.model_validate_json(answer.content)


def test_a_calibration_is_kept_once_and_listed(api):
    content = file_of()
    first, again = send(api, content), send(api, content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    (listed,) = api.request("GET", "/calibrations", api.key(Role.VIEWER)).json()["items"]
    assert listed == first.json()
    assert (listed["digest"], listed["site"], listed["withdrawn_at"]) == (
        hashlib.sha256(content).hexdigest(), "Ward 3", None,
    )  # fmt: skip


def test_the_right_signature_takes_the_place_of_a_wrong_one_and_is_audited(api):
    content = file_of()
    answers = [send(api, content, signature=one) for one in (bytes(64), SIGNATURE, SIGNATURE)]
    assert [answer.status_code for answer in answers] == [201, 201, 200]
    assert len({answer.text for answer in answers}) == 1
    assert [(one.file, one.signature) for one in claimed(api).calibrations] == [(content, SIGNATURE)]
    assert len(audited(api)) == 3


def test_a_withdrawn_one_does_not_come_back_by_another_signature(api):
    digest = send(api, file_of()).json()["digest"]
    api.request("DELETE", f"/calibrations/{digest}", api.key(Role.OPERATOR))
    assert send(api, file_of(), signature=bytes(64)).json()["code"] == "calibration_withdrawn"


def test_one_that_was_changed_past_the_service_is_used_again_once_it_is_sent_again(api):
    content = file_of()
    send(api, content)
    past = Database(api.settings.database)
    with past.write() as session:
        session.execute(update(CalibrationRow).values(heads=1000))
    past.close()
    assert claimed(api).calibrations == ()
    assert send(api, content).status_code == 201
    runs = [SimpleNamespace(id="a", study_id="a", bundle_digest=BUNDLE.digest)]
    with api.service.database.read() as session:
        found, _ = calibrations_for(session, runs, {"a": SimpleNamespace(site="default")})
    assert found == {"a": (hashlib.sha256(content).hexdigest(),)}


def test_another_hospital_s_wrong_signature_does_not_stand_for_this_one_s(api):
    content = file_of()
    digest = send(api, content).json()["digest"]
    send(api, content, api.key(Role.OPERATOR, site="another hospital"), signature=bytes(64))
    runs = [SimpleNamespace(id=name, study_id=name, bundle_digest=BUNDLE.digest) for name in "ab"]
    studies = {name: SimpleNamespace(site=site) for name, site in (("a", "default"), ("b", "another hospital"))}
    with api.service.database.read() as session:
        found, files = calibrations_for(session, runs, studies)
    assert found == {"a": (digest,), "b": (digest,)}
    assert {(one.digest, one.signature) for one in files} == {(digest, SIGNATURE), (digest, bytes(64))}


def test_it_goes_to_workers_with_the_runs_of_its_site_as_it_was_sent(api):
    older, newer = file_of("Ward 3"), file_of("Ward 4")
    digests = [send(api, content).json()["digest"] for content in (older, newer)]
    found = claimed(api)
    assert set(found.claims[0].calibrations) == set(digests)
    (file,) = [one for one in found.calibrations if one.digest == digests[0]]
    assert (file.file, file.signature) == (older, SIGNATURE)


def test_the_one_made_last_comes_first_whenever_it_was_sent(api):
    made = {days: file_of(created=day(days)) for days in (0, -40, -20)}
    same_day = file_of("Ward 4", created=day(-20))
    sent = {days: send(api, content).json()["digest"] for days, content in made.items()}
    sent_last = send(api, same_day).json()["digest"]
    assert claimed(api).claims[0].calibrations == (sent[0], sent_last, sent[-20], sent[-40])


def test_one_that_does_not_say_when_it_was_made_comes_last(api):
    digest = send(api, file_of(created=day(-300))).json()["digest"]
    with api.service.database.write() as session:
        odd = CalibrationRow(
            digest="0" * 64, owner="default", bundle_digest=BUNDLE.digest, site="Ward 3", heads=20,
            created="", expires=day(1), file=b"{}", signature=SIGNATURE, added_at=4e9, withdrawn_at=None,
        )  # fmt: skip
        session.add(odd)
    assert claimed(api).claims[0].calibrations == (digest, "0" * 64)


def test_those_of_another_hospital_or_of_another_model_do_not_go_along(api):
    with api.service.database.write() as session:
        register_bundles(session, [NEXT])
    send(api, file_of(bundle=NEXT))
    send(api, file_of("Elsewhere"), api.key(Role.OPERATOR, site="another hospital"))
    found = claimed(api)
    assert [claim.calibrations for claim in found.claims] == [()]


def test_a_withdrawn_one_goes_to_nobody_and_cannot_come_back(api):
    content = file_of()
    digest = send(api, content).json()["digest"]
    key = api.key(Role.OPERATOR)
    assert api.request("DELETE", f"/calibrations/{digest}", key).status_code == 204
    assert api.request("DELETE", f"/calibrations/{digest}", key).status_code == 204
    assert claimed(api).calibrations == ()
    again = send(api, content)
    assert (again.status_code, again.json()["code"]) == (409, "calibration_withdrawn")
    assert api.request("GET", "/calibrations", key).json()["items"][0]["withdrawn_at"] is not None


def test_another_hospital_neither_sees_nor_withdraws_it(api):
    digest = send(api, file_of()).json()["digest"]
    foreign = api.key(Role.ADMIN, site="another hospital")
    assert api.request("GET", "/calibrations", foreign).json()["items"] == []
    assert api.request("DELETE", f"/calibrations/{digest}", foreign).json()["code"] == "unknown_calibration"


def test_a_submitter_may_not_shift_ages(api):
    assert send(api, file_of(), api.key(Role.SUBMITTER)).status_code == 403


# By their words, not by their bytes, which hold today's date: processes that collect at midnight must find the same.
@pytest.mark.parametrize(
    "said",
    [{"format": 2}, {"site": ""}, {"site": "[red]"}, {"heads": 2**70}, {"heads": 100_001}, {"heads": 19},
     {"note": "x"}, {"created": None}, {"created": "after its end"}],
)  # fmt: skip
def test_what_is_no_calibration_is_refused(api, said):
    after = {"created": day(301)} if said.get("created") == "after its end" else {}
    answer = send(api, file_of(**said | after))
    assert (answer.status_code, answer.json()["code"]) == (422, "calibration_unreadable")


@pytest.mark.parametrize("content", [b"no json", b"{}"])
def test_what_is_no_table_of_a_calibration_is_refused(api, content):
    answer = send(api, content)
    assert (answer.status_code, answer.json()["code"]) == (422, "calibration_unreadable")


def test_what_med3d_calibrate_writes_is_kept(api):
    made = calibration().model_copy(update={"bundle": BundleName(name="b", version="1", digest=BUNDLE.digest)})
    assert send(api, made.to_json().encode()).status_code == 201
    assert FOR_WORKERS_ALONE | {"format", "site", "bundle", "created", "heads", "expires"} == set(
        SiteCalibration.model_fields
    )
    assert LEAST_HEADS == site_calibration.LEAST_HEADS


@pytest.mark.parametrize(
    ("days", "said"),
    [({"created": day(-400), "expires": day(-1)}, f"last day was {day(-1)}"), ({"created": day(2)}, "still to come")],
)
def test_an_expired_one_and_one_dated_ahead_are_refused_in_words(api, days, said):
    answer = send(api, file_of(**days))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]
    assert "med3d calibrate" in answer.json()["detail"] or "calibrate anew" in answer.json()["detail"]


def test_the_last_day_counts_and_so_does_a_clock_that_is_a_day_ahead(api):
    assert send(api, file_of(created=day(-400), expires=day(0))).status_code == 201
    assert send(api, file_of(created=day(1))).status_code == 201


def test_a_model_that_is_not_here_and_a_signature_of_another_length_are_refused(api):
    assert send(api, file_of(bundle=NEXT)).json()["code"] == "unknown_bundle"
    assert send(api, file_of(), signature=b"short").json()["code"] == "invalid_request"


def test_adding_and_withdrawing_leave_an_entry_each_with_the_digest(api):
    digest = send(api, file_of()).json()["digest"]
    api.request("DELETE", f"/calibrations/{digest}", api.key(Role.OPERATOR))
    found = audited(api)
    assert [object_id for _, object_id in found] == [digest, digest]
    assert found[0][0] == "change"


def test_a_replay_finds_the_calibration_of_its_answer_also_when_it_was_withdrawn(api):
    content = file_of()
    digest = send(api, content).json()["digest"]
    api.request("DELETE", f"/calibrations/{digest}", api.key(Role.OPERATOR))
    with api.service.database.read() as session:
        found = stored_calibration(session, digest, "default")
        assert found is not None
        assert found.file == content
        assert stored_calibration(session, digest, "another hospital") is None
