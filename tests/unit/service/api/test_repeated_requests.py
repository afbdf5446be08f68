"""A POST that is repeated with its Idempotency-Key is done once; a change may say which state it is meant for."""

import concurrent.futures

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from med3d_service.api.idempotency import RequestDigest
from med3d_service.problems import ServiceError
from med3d_service.storage.repetition_tables import RepetitionRow
from med3d_service.storage.repetitions import claim, give_back
from med3d_service.trust.access import Role
from rig.dicom.uploads import dicom_files
from rig.service.api import open_api


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


def post(api, key, path, repetition="5f0c", **more):
    return api.request("POST", path, key, headers={"Idempotency-Key": repetition}, **more)


def make_cohort(api, key, name="night", **more):
    return post(api, key, "/cohorts", json={"name": name}, **more)


def test_the_same_request_again_gets_the_first_answer(api):
    key = api.key(Role.SUBMITTER)
    first, again = make_cohort(api, key), make_cohort(api, key)
    assert first.status_code == again.status_code == 201, again.text
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    without = api.request("POST", "/cohorts", key, json={"name": "night"})
    assert without.json()["code"] == "cohort_exists", "it was really made once"


def test_another_body_under_the_same_key_is_refused(api):
    key = api.key(Role.SUBMITTER)
    make_cohort(api, key)
    other = make_cohort(api, key, "day")
    assert (other.status_code, other.json()["code"]) == (422, "key_of_another_request")
    assert api.request("GET", "/cohorts/day", key).status_code == 404


def test_a_key_belongs_to_its_caller_and_its_address(api):
    mine, theirs = api.key(Role.SUBMITTER), api.key(Role.SUBMITTER)
    made = make_cohort(api, mine).json()
    assert make_cohort(api, theirs).json()["code"] == "cohort_exists"
    paused = post(api, mine, f"/cohorts/{made['cohort_id']}/pause")
    assert paused.json()["code"] == "no_reprocessing"


def test_a_revoked_key_gets_no_answer_from_before(api):
    from med3d_service.trust.access.api_keys import revoke_key

    key = api.key(Role.SUBMITTER)
    make_cohort(api, key)
    with api.service.database.write() as session:
        revoke_key(session, key.split("_")[1])
    assert make_cohort(api, key).status_code == 401


def test_what_failed_may_be_sent_again_under_its_key(api):
    key = api.key(Role.SUBMITTER)
    refused = post(api, key, "/cohorts", json={"name": "night", "bundle": "none-such"})
    assert refused.json()["code"] == "unknown_bundle"
    assert make_cohort(api, key).status_code == 201


def test_a_study_sent_again_in_a_new_form_is_the_same_request(api):
    key = api.key(Role.SUBMITTER)
    files = [("files", (f"{i}.dcm", data)) for i, data in enumerate(dicom_files(3))]
    first, again = (post(api, key, "/studies", files=files) for _ in range(2))
    assert first.request.headers["content-type"] != again.request.headers["content-type"], "boundaries differ"
    assert (first.status_code, again.status_code) == (202, 202), "not 200, which would say that it was known before"
    assert again.json() == first.json()
    other = post(api, key, "/studies", files=files[:2])
    assert other.json()["code"] == "key_of_another_request"


def test_an_answer_of_an_erased_study_is_forgotten(api):
    key = api.key(Role.SUBMITTER)
    files = [("files", (f"{i}.dcm", data)) for i, data in enumerate(dicom_files(3))]
    first = post(api, key, "/studies", files=files).json()
    api.request("DELETE", f"/studies/{first['study_id']}", api.key(Role.ADMIN))
    assert post(api, key, "/studies", files=files).json()["study_id"] != first["study_id"]


def test_an_answer_is_kept_for_a_day(api):
    key = api.key(Role.SUBMITTER)
    make_cohort(api, key)
    with api.service.database.write() as session:
        session.execute(update(RepetitionRow).values(began_at=RepetitionRow.began_at - 86401))
    assert make_cohort(api, key).json()["code"] == "cohort_exists"


def test_of_many_at_once_one_is_the_first(api):
    database = api.service.database

    def begin(_):
        try:
            return claim(database, "f" * 64)
        except ServiceError as error:
            return error.code

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(begin, range(8)))
    assert sorted(map(str, found)) == ["None", *["request_under_way"] * 7]
    with database.write() as session:
        session.execute(update(RepetitionRow).values(began_at=RepetitionRow.began_at - 1000))
    assert begin(0) is None, "a request whose process is gone does not hold its key for ever"
    give_back(database, "f" * 64)
    assert begin(0) is None


@pytest.mark.parametrize("bad", ["", "x" * 201])
def test_a_key_that_is_none_is_said(api, bad):
    answer = post(api, api.key(Role.SUBMITTER), "/cohorts", bad, json={"name": "night"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")


@given(st.lists(st.binary(max_size=12)), st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_how_a_form_is_cut_into_pieces_does_not_matter(parts, others, size):
    def digest(parts, boundary, size):
        whole = b"--" + boundary + b"\r\n" + (b"\r\n--" + boundary + b"\r\n").join(parts)
        found = RequestDigest(f"multipart/form-data; boundary={boundary.decode()}")
        for start in range(0, len(whole), size):
            found.update(whole[start : start + size])
        return found.hexdigest()

    one = digest(parts, b"abcdefghij", size)
    assert digest(parts, b"0123456789", 1000) == one or any(
        b in b"".join(parts) for b in (b"abcdefghij", b"0123456789")
    )
    assert (digest(others, b"abcdefghij", 3) == one) == (b"\r\n--\r\n".join(parts) == b"\r\n--\r\n".join(others))


def test_the_document_says_where_the_key_is_taken(api):
    paths = api.app.openapi()["paths"]
    names = {
        name for path in paths.values() for name in [p["name"] for p in path.get("post", {}).get("parameters", [])]
    }
    assert "Idempotency-Key" in names
    assert "409" in paths["/cohorts"]["post"]["responses"]
    claims = paths["/worker/claims/predict"]["post"]
    assert "Idempotency-Key" not in [one["name"] for one in claims.get("parameters", [])]


def test_a_change_meant_for_another_state_is_refused(api):
    key = api.key(Role.SUBMITTER)
    path = f"/cohorts/{make_cohort(api, key).json()['cohort_id']}"
    etag = api.request("GET", path, key).headers["etag"]
    schedule = {"start": "22:00:00", "end": "06:00:00", "time_zone": "Europe/Berlin"}

    def change(value, etag):
        return api.request("PATCH", path, key, json={"schedule": value}, headers={"If-Match": etag})

    changed = change(schedule, etag)
    assert changed.status_code == 200, changed.text
    late = change(None, etag)
    assert (late.status_code, late.json()["code"]) == (412, "state_changed")
    now = api.request("GET", path, key)
    assert now.json()["schedule"] is not None
    assert change(None, f'"other", {now.headers["etag"]}').status_code == 200
    assert change(None, "*").status_code == 200


def test_pages_of_cohorts_stay_where_they_are_while_new_ones_come(api):
    key = api.key(Role.SUBMITTER)
    names = {make_cohort(api, key, f"c-{n}", repetition=f"r{n}").json()["name"] for n in range(5)}
    seen, cursor = [], None
    while True:
        page = api.request("GET", f"/cohorts?limit=2{f'&cursor={cursor}' if cursor else ''}", key).json()
        seen += [one["name"] for one in page["items"]]
        make_cohort(api, key, f"late-{len(seen)}", repetition=f"late-{len(seen)}")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert names <= set(seen)


def test_a_database_that_cannot_keep_the_key_does_nothing(api):
    with api.service.database.write() as session:
        session.execute(text("DROP TABLE repetitions"))
    answer = make_cohort(api, api.key(Role.SUBMITTER))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert api.request("GET", "/cohorts/night", api.key(Role.VIEWER)).status_code == 404
