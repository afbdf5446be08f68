import threading

import pytest

from med3d_client.worker import ApiUnavailable, Superseded
from med3d_worker.stages.lease import SETTLE_S, LeaseKeeper


class HeartbeatApi:
    """Takes heartbeats; ``over`` are the runs that have been overtaken."""

    def __init__(self, over=(), fault=None):
        self.over = frozenset(over)
        self.fault = fault
        self.heard = []
        self.changed = threading.Condition()

    def heartbeat(self, heartbeat):
        with self.changed:
            self.heard += [(one.run_id, one.attempt, one.stage) for one in heartbeat.held]
            self.changed.notify_all()
        if self.fault:
            raise self.fault
        return self.over

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.heard), timeout=60), self.heard


def test_every_attempt_is_renewed_again_and_again():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1, "b": 4}, every_s=0.01):
        api.wait_for(lambda heard: heard.count(("a", 1, None)) > 2 and heard.count(("b", 4, None)) > 2)


def test_a_new_stage_is_told_soon():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1}, every_s=60) as lease:
        api.wait_for(lambda heard: len(heard) == 1)
        lease.stage_teller("a")("registration")
        api.wait_for(lambda heard: heard[-1] == ("a", 1, "registration"))


def test_work_begins_when_the_api_knows_that_the_claim_has_come():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1, "b": 4}, every_s=60, settle_s=60):
        assert api.heard == [("a", 1, None), ("b", 4, None)]


def test_work_that_is_over_in_a_moment_tells_no_stage():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1}, every_s=60, settle_s=60) as lease:  # a moment that no busy machine makes longer
        lease.stage_teller("a")("fetching")
        lease.stage_teller("a")("registration")
    assert api.heard == [("a", 1, None)]


def test_a_moment_is_less_than_people_wait_for():
    assert 0 < SETTLE_S < 1


def test_nothing_is_sent_after_the_end():
    api = HeartbeatApi()
    with LeaseKeeper(api, {"a": 1}, every_s=0.01):
        api.wait_for(lambda heard: len(heard) > 1)
    assert "heartbeats" not in {thread.name for thread in threading.enumerate()}


def test_an_overtaken_attempt_stops_at_its_next_stage():
    api = HeartbeatApi(over=["a"])
    with LeaseKeeper(api, {"a": 1}, every_s=0.01) as lease:
        api.wait_for(lambda heard: len(heard) == 1)
        while not lease.is_over("a"):
            api.wait_for(lambda heard: True)
        with pytest.raises(Superseded):
            lease.stage_teller("a")("registration")


def test_one_overtaken_attempt_does_not_stop_its_neighbours():
    api = HeartbeatApi(over=["a"])
    with LeaseKeeper(api, {"a": 1, "b": 1}, every_s=0.01) as lease:
        api.wait_for(lambda heard: len([one for one in heard if one[0] == "b"]) > 2)
        lease.stage_teller("b")("storing")
        assert lease.is_over("a")
        assert not lease.is_over("b")
    assert len([one for one in api.heard if one[0] == "a"]) == 1


def test_an_api_that_is_away_is_asked_again():
    api = HeartbeatApi(fault=ApiUnavailable("down"))
    with LeaseKeeper(api, {"a": 1}, every_s=0.01) as lease:
        api.wait_for(lambda heard: len(heard) > 3)
        lease.stage_teller("a")("registration")
        assert not lease.is_over("a")


def test_a_worker_that_ends_by_an_error_is_not_kept_alive_by_its_heartbeats():
    with LeaseKeeper(HeartbeatApi(), {"a": 1}, every_s=60):
        (beating,) = (thread for thread in threading.enumerate() if thread.name == "heartbeats")
        assert beating.daemon
