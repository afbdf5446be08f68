"""A few rounds of faults; `make chaos` does hundreds. What each seed does is told by chaos.faults."""

import pytest

from chaos.campaign import Campaign, is_good
from chaos.senders import images
from rig.dicom.uploads import named, zip_of
from rig.processes.quick_worker import POISON
from rig.processes.waiting import wait_until
from rig.service.arriving import saved

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    made = Campaign(tmp_path_factory.mktemp("chaos") / "cluster", postgres=False, small_disk=False)
    made.cluster.start()
    yield made
    made.cluster.close()


def test_whatever_is_killed_paused_or_cut_every_acknowledged_study_is_answered_once(campaign):
    report = campaign.round(seed=1006)
    assert report["acknowledged"] == 3
    assert is_good(report), report


@pytest.mark.long
def test_a_study_that_kills_its_worker_three_times_has_failed_and_its_neighbours_are_answered(campaign):
    poison = zip_of(named([saved(one) for one in images(POISON, "1.2.666")]))
    run_id = campaign.cluster.client.post("/studies", files=[("files", ("poison.zip", poison))]).json()["run_id"]
    run = wait_until(
        lambda: (run := campaign.cluster.client.get(f"/runs/{run_id}").json())["status"] == "failed" and run,
        "the end of the poisonous run",
        timeout_s=240,
    )
    assert (run["failure"]["code"], run["attempt"]) == ("worker_lost", 3)
    wait_until(campaign.cluster.is_ready, "the worker's return", timeout_s=120)
