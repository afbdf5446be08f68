"""What somebody writes into Redis costs the worker a line in its log, and nothing else."""

import json

import pytest
import redis

from rig.processes.fleets import add_waiting, worker_process
from rig.processes.service import START_TIMEOUT_S, Processes
from rig.processes.waiting import wait_until

QUEUES = ("preprocess", "preprocess:3", "predict", "publish")
BAD = (
    b"", b"\xff\xfe", b"{", b"null", b"[]", b"{}", b'"text"', b"[" * 100_000,
    json.dumps({"properties": {"delivery_tag": "a"}, "body": "x"}).encode(),
    json.dumps({"properties": {}, "headers": {}, "body": ""}).encode(),
    json.dumps({"properties": {"delivery_tag": ["x"]}, "headers": None, "body": {"x": 1}}).encode(),
    json.dumps({
        "body": "bm90IGpzb24=", "content-type": "application/json", "content-encoding": "utf-8",
        "headers": {"task": "med3d_worker.tasks.preprocess_run", "id": "a", "timelimit": 3, "eta": {}},
        "properties": {"delivery_tag": "t", "delivery_info": "x", "priority": "high", "body_encoding": "base64"},
    }).encode(),
)  # fmt: skip


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path, MED3D_LEASE_S="5", MED3D_SWEEP_S="0.2", MED3D_REDISPATCH_S="1")
    yield made.start("broker", "api", "scheduler")
    made.close()


def test_bad_messages_end_no_worker_and_hold_up_no_run(processes):
    with (
        redis.Redis(unix_socket_path=f"{processes.socket_dir}/broker.sock") as broker,
        worker_process(processes, "worker", "rig.processes.stub_worker", "1", MED3D_HEARTBEAT_S="1") as worker,
    ):
        first = add_waiting(processes, 1)[0]
        wait_until(lambda: processes.run(first)["status"] == "completed", "a run before", START_TIMEOUT_S)
        for number in range(3):
            for queue in QUEUES:
                broker.lpush(queue, *BAD)
            broker.hset("unacked", f"bad-{number}", BAD[number])
            broker.zadd("unacked_index", {f"bad-{number}": 1})
        wait_until(lambda: not any(broker.llen(queue) for queue in QUEUES), "the end of the bad messages")
        second = add_waiting(processes, 1)[0]
        wait_until(lambda: processes.run(second)["status"] == "completed", "a run afterwards", START_TIMEOUT_S)
        wait_until(lambda: not broker.zscore("unacked_index", "bad-2"), "the end of those that nobody acknowledged")
        assert worker.poll() is None
    said = (processes.data_dir / "worker.log").read_text()
    assert said.count("message_dropped") >= len(BAD)
    assert "Traceback" not in said
    assert "Connection to broker lost" not in said
