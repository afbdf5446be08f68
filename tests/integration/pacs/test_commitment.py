"""A real Orthanc is asked to commit itself to what it was sent, and reports to the listener."""

import pytest

from rig.processes.gateway import files_of, new_study
from rig.processes.waiting import wait_until
from rig.service.answers import claimed, complete

DELIVERIES = """
[[deliver]]
peer = "ward"
protocol = "dimse"
kinds = ["sr"]
commitment = true
"""


@pytest.fixture
def committing(beside_ward, tmp_path):
    """The service with a deliverer that asks the ward for storage commitment."""
    (tmp_path / "deliveries.toml").write_text(DELIVERIES)
    beside_ward.environment["MED3D_DELIVERIES_FILE"] = str(tmp_path / "deliveries.toml")
    beside_ward.stop("listener")
    beside_ward.start("listener", "deliverer")
    yield beside_ward
    del beside_ward.environment["MED3D_DELIVERIES_FILE"]
    beside_ward.stop("deliverer")


def test_a_report_is_delivered_once_orthanc_has_promised_to_keep_it(committing, ward):
    study = new_study(5)
    ward.add(*files_of(study))
    run_id = committing.run_of(study[0].StudyInstanceUID)
    ids = {"run_id": run_id, "study_id": committing.run(run_id)["study_id"]}
    committing.working_copy(ids["study_id"])
    complete(committing, ids, wait_until(lambda: claimed(committing, run_id), "the claim").attempt)

    def deliveries():
        return committing.client.get("/deliveries", params={"run_id": run_id}).json()["items"]

    [delivery] = wait_until(
        lambda: (found := deliveries()) and found[0]["status"] == "delivered" and found, "Orthanc's promise"
    )
    assert (delivery["kind"], delivery["fault"]) == ("sr", None)
