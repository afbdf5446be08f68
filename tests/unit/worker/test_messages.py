"""A message out of Redis is a task of ours, word for word, or it is dropped."""

import base64
import copy
import json

import pytest
from celery import Celery

from med3d_contract.queues import PREPROCESS_RUN, celery_settings
from med3d_worker.process.messages import BadMessageError, checked

EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def packed(body):
    return base64.b64encode(json.dumps(body).encode()).decode()


GOOD = {
    "body": packed([["run-1"], {}, EMBEDDED]),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {
        "lang": "py", "task": PREPROCESS_RUN, "id": "a", "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": "a", "parent_id": None,
        "argsrepr": "('run-1',)", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": None,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    },
    "properties": {
        "correlation_id": "a", "reply_to": "b", "delivery_mode": 2, "priority": 3, "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "preprocess"}, "delivery_tag": "c",
    },
}  # fmt: skip


def changed(*path, to):
    message = copy.deepcopy(GOOD)
    inner = message
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return message


BAD = [
    None, 1, "text", [], {}, {"properties": {}},
    *({**GOOD, name: None} for name in GOOD),
    changed("headers", "task", to="os.system"),
    changed("headers", "task", to=["x"]),
    changed("headers", "retries", to="x"),
    changed("headers", "retries", to=-1),
    changed("headers", "eta", to="tomorrow"),
    changed("headers", "eta", to="9999-12-31T23:59:59+00:00"),
    changed("headers", "eta", to="2026-11-27T11:24:55"),
    changed("headers", "expires", to="x"),
    changed("headers", "timelimit", to=3),
    changed("headers", "timelimit", to=["x", {}]),
    changed("headers", "id", to=None),
    changed("headers", "id", to="a" * 1000),
    changed("properties", "delivery_tag", to=[]),
    changed("properties", "priority", to=10),
    changed("properties", "priority", to="high"),
    changed("properties", "delivery_info", to="x"),
    changed("properties", "body_encoding", to="rot13"),
    changed("content-type", to="application/x-python-serialize"),
    changed("content-encoding", to="zlib"),
    changed("body", to="not base64"),
    changed("body", to=base64.b64encode(b"not json").decode()),
    changed("body", to=base64.b64encode(b"[" * 5000).decode()),
    changed("body", to=packed([["run-1"], {}])),
    changed("body", to=packed([["run-1"], {"run_id": "x"}, EMBEDDED])),
    changed("body", to=packed([[{"run": "x"}], {}, EMBEDDED])),
    changed("body", to=packed([["run-1"], {}, EMBEDDED | {"chain": [{"task": PREPROCESS_RUN}]}])),
]  # fmt: skip


def test_a_task_of_ours_is_taken_with_what_celery_reads_of_it():
    message = checked(GOOD)
    assert message["body"] == GOOD["body"]
    for part in ("headers", "properties"):
        known = {name: value for name, value in message[part].items() if name in GOOD[part]}
        assert known | {"delivery_info": 0} == {name: GOOD[part][name] for name in known} | {"delivery_info": 0}
    assert "stamps" not in message["headers"]
    later = changed("headers", "eta", to="2026-11-27T11:24:55.626181+00:00")
    assert checked(later)["headers"]["eta"] == later["headers"]["eta"]


def ask(run_id):
    return run_id


def test_what_a_task_sends_again_is_taken_and_brings_no_time_limits_of_its_own():
    app = Celery("of_a_test", set_as_current=False)
    app.conf.update(celery_settings("memory://"))
    task = app.task(name=PREPROCESS_RUN, shared=False)(ask)  # else every app of this process has it
    task.apply_async(("run-1",), countdown=5)
    queue = app.amqp.router.route({}, PREPROCESS_RUN)["queue"].name
    with app.connection_for_read() as connection:
        sent = connection.default_channel._get(queue)
    assert any(sent["headers"]["timelimit"])
    for limits in (sent["headers"]["timelimit"], [0.001, None], [None, 1]):
        sent["headers"]["timelimit"] = limits
        assert checked(sent)["headers"]["timelimit"] == [None, None]


@pytest.mark.parametrize("task", celery_settings("redis://broker")["task_routes"])
def test_every_task_that_is_sent_is_taken(task):
    assert checked(changed("headers", "task", to=task))["headers"]["task"] == task


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_anything_else_is_a_bad_message_and_nothing_worse(bad):
    with pytest.raises(BadMessageError):
        checked(bad)
