"""Volumes of a head are made when a viewer opens, served in ranges to who may see heads, and go with the images."""

import pytest
from sqlalchemy import update

from med3d_contract.volumes import (
    StoredVolume,
    StoredVolumes,
    VolumeName,
    all_volume_keys,
    volume_key,
    volumes_key,
)
from med3d_contract.work import VolumesRequest
from med3d_service.custody.retention.removing import remove_input, remove_tensors
from med3d_service.custody.retention.tables import RemovalRow
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import answered
from rig.service.api import empty_api, open_api
from rig.service.parts import add_run
from rig.service.work import BUNDLE

CONTENT = bytes(range(200))


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"))
    yield made
    made.close()


def without_images(api):
    run_id = answered(api)
    with api.service.database.write() as session:
        study = session.query(RunRow).where(RunRow.id == run_id).one().study_id
        session.execute(update(StudyRow).where(StudyRow.id == study).values(working_key=None))
    return run_id


def keep(api, run_id):
    stored = api.service.store.put(volume_key(run_id, VolumeName.HEAD), CONTENT)
    listed = StoredVolumes(volumes=(StoredVolume(name=VolumeName.HEAD, size_bytes=len(CONTENT), sha256=stored.sha256),))
    api.service.store.put(volumes_key(run_id), listed.model_dump_json().encode())
    return listed


def clinical(api):
    return api.key(Role.VIEWER, clinical=True)


def test_a_head_with_a_face_is_made_anew_where_none_is_to_leave(tmp_path):
    api = empty_api(tmp_path, deface=True)
    run_id, key = answered(api), clinical(api)
    listed = keep(api, run_id)
    assert api.request("GET", f"/runs/{run_id}/volumes/head", key).status_code == 202
    assert api.service.broker.sent.count((run_id, "volumes", 3)) == 1
    api.service.store.put(volumes_key(run_id), listed.model_copy(update={"defaced": True}).model_dump_json().encode())
    assert api.request("GET", f"/runs/{run_id}/volumes/head", key).content == CONTENT
    api.close()


def test_the_first_look_asks_a_worker_and_the_next_one_gets_them(api):
    run_id, key = answered(api), clinical(api)
    for path in ("volumes", "volumes/head"):
        first = api.request("GET", f"/runs/{run_id}/{path}", key)
        assert (first.status_code, first.headers["retry-after"]) == (202, "1")
    assert api.service.broker.sent.count((run_id, "volumes", 3)) == 2
    listed = keep(api, run_id)
    assert StoredVolumes.model_validate(api.request("GET", f"/runs/{run_id}/volumes", key).json()) == listed
    whole = api.request("GET", f"/runs/{run_id}/volumes/head", key)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, CONTENT, "bytes")
    assert whole.headers["cache-control"] == "private, no-store"
    assert api.request("GET", f"/runs/{run_id}/volumes/change", key).json()["code"] == "no_volumes"
    assert api.request("GET", f"/runs/{run_id}/volumes/other", key).status_code == 422


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("bytes=0-9", 0, 10), ("bytes=190-", 190, 200), ("bytes=-5", 195, 200), ("bytes=150-999", 150, 200),
     ("bytes=-999", 0, 200)],
)  # fmt: skip
def test_a_range_is_served(api, asked, first, end):
    run_id = answered(api)
    keep(api, run_id)
    part = api.request("GET", f"/runs/{run_id}/volumes/head", clinical(api), headers={"Range": asked})
    assert (part.status_code, part.content) == (206, CONTENT[first:end])
    assert part.headers["content-range"] == f"bytes {first}-{end - 1}/200"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=-", "bytes=9-3", "lines=1-2", "bytes=x-"])
def test_what_is_no_single_range_gets_the_whole(api, asked):
    run_id = answered(api)
    keep(api, run_id)
    whole = api.request("GET", f"/runs/{run_id}/volumes/head", clinical(api), headers={"Range": asked})
    assert (whole.status_code, whole.content) == (200, CONTENT)


def test_a_range_of_another_state_gets_the_whole_and_one_behind_the_end_is_refused(api):
    run_id, key = answered(api), clinical(api)
    keep(api, run_id)
    path = f"/runs/{run_id}/volumes/head"
    etag = api.request("GET", path, key).headers["etag"]
    same = api.request("GET", path, key, headers={"Range": "bytes=0-0", "If-Range": etag})
    other = api.request("GET", path, key, headers={"Range": "bytes=0-0", "If-Range": '"older"'})
    assert (same.status_code, other.status_code) == (206, 200)
    for asked in ("bytes=200-", "bytes=-0"):
        beyond = api.request("GET", path, key, headers={"Range": asked})
        assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_there")
        assert "200 bytes" in beyond.json()["detail"]


def test_they_take_the_clinical_grant_and_the_site(api):
    run_id = answered(api)
    keep(api, run_id)
    for path in ("volumes", "volumes/head"):
        assert api.request("GET", f"/runs/{run_id}/{path}", api.key(Role.ADMIN)).status_code == 403
        elsewhere = api.key(Role.VIEWER, clinical=True, site="elsewhere")
        assert api.request("GET", f"/runs/{run_id}/{path}", elsewhere).json()["code"] == "unknown_run"


def test_without_images_or_a_series_there_is_nothing_to_look_at(api):
    key = clinical(api)
    for run_id in (without_images(api), add_run(api.service.database)):
        assert api.request("GET", f"/runs/{run_id}/volumes", key).json()["code"] == "no_volumes"
        assert api.request("GET", f"/worker/runs/{run_id}/volumes", api.key(Role.WORKER)).status_code == 409


def test_a_worker_is_told_what_it_needs_and_no_more(api):
    run_id = answered(api)
    answer = api.request("GET", f"/worker/runs/{run_id}/volumes", api.key(Role.WORKER))
    wanted = VolumesRequest.model_validate(answer.json())
    assert (wanted.bundle_digest, wanted.series, wanted.tensor.key) == (BUNDLE.digest, "series 1", "tensors/x.npz")
    assert wanted.working_copy.key == "working/x.tar"


def test_what_cannot_be_read_and_a_broker_that_is_away_are_asked_for_again(api):
    run_id = answered(api)
    api.service.store.put(volumes_key(run_id), b"[]")
    api.service.broker.away = True
    try:
        assert api.request("GET", f"/runs/{run_id}/volumes", clinical(api)).status_code == 202
    finally:
        api.service.broker.away = False


@pytest.mark.parametrize("what", ["input", "tensors"])
def test_they_go_with_the_images_and_with_the_tensor(api, what):
    run_id = answered(api)
    keep(api, run_id)
    with api.service.database.write() as session:
        study = session.query(RunRow).where(RunRow.id == run_id).one().study_id
        remove_input(session, [study]) if what == "input" else remove_tensors(session, [run_id])
        planned = {key for removal in session.query(RemovalRow) for key in removal.objects}
    assert all_volume_keys(run_id) <= planned
