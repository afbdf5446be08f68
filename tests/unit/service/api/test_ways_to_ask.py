"""Sending a study and asking for one are two routes; who asks the old way is told the new one."""

import pytest

from med3d_service.trust.access import Role
from rig.service.api import open_api

WANTED = {"source": "dicomweb", "peer": "archive", "accession": "A-1"}


@pytest.fixture
def api(tmp_path):
    peers = tmp_path / "peers.toml"
    peers.write_text('[dicomweb.archive]\nurl = "https://archive.example.org/dicom-web"\n')
    made = open_api(tmp_path / "data", peers_file=peers)
    yield made
    made.close()


def test_a_pull_that_is_sent_to_studies_is_told_where_pulls_are_asked_for(api):
    answer = api.request("POST", "/studies", api.key(Role.SUBMITTER), json=WANTED)
    assert (answer.status_code, answer.json()["code"]) == (415, "pull_sent_to_studies")
    assert "POST /pulls" in answer.json()["remedy"]


def test_a_pull_is_asked_for_and_the_same_again_is_the_same(api):
    key = api.key(Role.SUBMITTER, clinical=True)
    first, again = (api.request("POST", "/pulls", key, json=WANTED | {"accession": "A-2"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()
    assert first.headers["location"] == f"/pulls/{first.json()['pull_id']}"
    assert api.request("GET", first.headers["location"], key).json()["status"] == "waiting"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid_request"),
        (b'{"source": "dicomweb", "peer": "nobody", "accession": "A-1"}', 422, "unknown_peer"),
        (b" " * 100_000, 413, "upload_too_large"),
    ],
)
def test_a_pull_that_means_nothing_is_refused_by_its_code(api, body, status, code):
    answer = api.request("POST", "/pulls", api.key(Role.SUBMITTER, clinical=True), content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "what",
    [
        {"accession": "A-1"},
        {"query": {"patient_id": "P-1"}},
        {"query": {"study_date": "20260101"}},
    ],
    ids=["accession number", "patient", "search"],
)
@pytest.mark.parametrize("role", [Role.SUBMITTER, Role.ADMIN])
def test_a_pull_that_tells_whether_a_patient_is_known_takes_the_clinical_grant(api, role, what):
    wanted = {"source": "dicomweb", "peer": "archive"} | what
    refused = api.request("POST", "/pulls", api.key(role), json=wanted)
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_scope")
    assert "study_uid" in refused.json()["detail"]
    assert api.request("POST", "/pulls", api.key(role, clinical=True), json=wanted).status_code in {200, 202}


def test_a_pull_of_a_study_by_its_uid_takes_no_grant(api):
    wanted = {"source": "dicomweb", "peer": "archive", "study_uid": "1.2.3"}
    assert api.request("POST", "/pulls", api.key(Role.SUBMITTER), json=wanted).status_code == 202
