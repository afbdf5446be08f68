"""The line of pulls on PostgreSQL, where several fetchers skip each other's locked rows."""

import pytest

from rig.processes.gateway import Gateway, files_of, new_study, peers_file
from rig.processes.service import new_database, postgresql


@pytest.fixture(scope="module")
def service(ward, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with postgresql() as url:
        peers = str(peers_file(folder, ward, follow_changes_s=3600))
        made = Gateway(folder, MED3D_DATABASE_URL=new_database(url), MED3D_PEERS_FILE=peers, MED3D_PULL_LEASE_S="4")
        made.begin("fetcher")
        yield made
        made.close()


@pytest.mark.long
def test_many_pulls_at_once_are_each_done_once_and_a_killed_fetcher_loses_none(service, ward):
    studies = [new_study(6) for _ in range(8)]
    asked = []
    for number, study in enumerate(studies):
        ward.add(*files_of(study))
        source = ("dicomweb", "dimse")[number % 2]
        asked.append(service.pull(source=source, peer="ward", study_uid=study[0].StudyInstanceUID).json()["pull_id"])
        if number == len(studies) // 2:
            service.stop("fetcher", 9)
    service.start("fetcher")
    pulls = [service.wait_for_pull(pull_id) for pull_id in asked]
    assert [(pull["status"], pull["studies"][0]["instances"]) for pull in pulls] == [("done", 6)] * len(studies)
    runs = [service.run_of(study[0].StudyInstanceUID) for study in studies]
    assert len(set(runs)) == len(studies)
    assert [service.study(service.run(run)["study_id"])["files"] for run in runs] == [6] * len(studies)


@pytest.mark.long
def test_a_query_that_finds_several_studies_ends_when_they_are_here(service, ward):
    studies = [new_study(2, PatientID="ON-POSTGRESQL", StudyDate="20200304") for _ in range(3)]
    for study in studies:
        ward.add(*files_of(study))
    query = {"patient_id": "ON-POSTGRESQL", "study_date": "20200304"}
    pull = service.wait_for_pull(service.pull(source="dimse", peer="ward", query=query).json()["pull_id"])
    assert [found["status"] for found in pull["studies"]] == ["done"] * 3
