import threading

import pytest

from med3d_contract.client import ApiUnavailable, Superseded
from med3d_worker.lease import LeaseKeeper


class HeartbeatApi:
    """Takes heartbeats; answers for each run what the test says."""

    def __init__(self, answers=None):
        self.answers = answers or {}
        self.heard = []
        self.changed = threading.Condition()

    def heartbeat(self, run_id, heartbeat):
        with self.changed:
            self.heard.append((run_id, heartbeat.attempt, heartbeat.stage))
            self.changed.notify_all()
        if run_id in self.answers:
            raise self.answers[run_id]

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.heard), timeout=5), self.heard


def test_every_attempt_is_renewed_again_and_again():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1, "b": 4}, every_s=0.01, stage="predicting"):
        api.wait_for(lambda heard: heard.count(("a", 1, "predicting")) > 2 and heard.count(("b", 4, "predicting")) > 2)


def test_a_new_stage_is_told_at_once():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1}, every_s=60, stage="fetching") as lease:
        api.wait_for(lambda heard: len(heard) == 1)
        lease.enter_stage("registration")
        api.wait_for(lambda heard: heard[-1] == ("a", 1, "registration"))


def test_nothing_is_sent_after_the_end():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1}, every_s=0.01, stage="fetching"):
        api.wait_for(lambda heard: len(heard) > 1)
    assert "heartbeats" not in {thread.name for thread in threading.enumerate()}


def test_an_overtaken_attempt_stops_at_its_next_stage():
    api = HeartbeatApi({"a": Superseded("a newer attempt exists")})
    with LeaseKeeper(api, {"a": 1}, every_s=0.01, stage="fetching") as lease:
        api.wait_for(lambda heard: len(heard) == 1)
        while not lease.is_over("a"):
            api.wait_for(lambda heard: True)
        with pytest.raises(Superseded):
            lease.enter_stage("registration")


def test_one_overtaken_attempt_does_not_stop_its_neighbours():
    api = HeartbeatApi({"a": Superseded("over")})
    with LeaseKeeper(api, {"a": 1, "b": 1}, every_s=0.01, stage="predicting") as lease:
        api.wait_for(lambda heard: len([one for one in heard if one[0] == "b"]) > 2)
        lease.enter_stage("storing")
        assert lease.is_over("a")
        assert not lease.is_over("b")
    assert len([one for one in api.heard if one[0] == "a"]) == 1


def test_an_api_that_is_away_is_asked_again():
    api = HeartbeatApi({"a": ApiUnavailable("down")})
    with LeaseKeeper(api, {"a": 1}, every_s=0.01, stage="fetching") as lease:
        api.wait_for(lambda heard: len(heard) > 3)
        lease.enter_stage("registration")
        assert not lease.is_over("a")
