import httpx
import pytest

from med3d_cli.embedded.readiness import Readiness
from med3d_cli.errors import CommandError

OK, MISSING = {"ok": True, "why": None}, {"ok": False, "why": "none has said hello yet"}


class Starting:
    """A service whose /readyz gives ``answers`` in turn, and a clock that the test moves."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.now_s = 0.0
        self.ready = 0
        self.said = []
        transport = httpx.MockTransport(self._answer)
        self.look = Readiness(
            "http://api", self._on_ready, self.said.append, transport=transport, clock=lambda: self.now_s
        )

    def _answer(self, _request):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _on_ready(self):
        self.ready += 1

    def look_after(self, seconds):
        self.now_s += seconds
        self.look()


def not_ready(**checks):
    return httpx.Response(503, json={"ready": False} | checks)


def test_it_is_ready_once():
    service = Starting(httpx.ConnectError("no"), not_ready(worker=MISSING), httpx.Response(200, json={"ready": True}))
    for _ in range(5):
        service.look_after(1)
    assert service.ready == 1


def test_what_is_missing_is_named_now_and_then():
    service = Starting(not_ready(database=OK, broker=MISSING, worker=MISSING))
    for _ in range(12):
        service.look_after(1)
    assert service.said == ["starting; waiting for: broker, worker"] * 2
    assert service.ready == 0


@pytest.mark.parametrize("answer", [httpx.ConnectError("no"), httpx.Response(502, text="<html>"), not_ready(a=3)])
def test_an_api_that_does_not_answer_is_what_is_missing(answer):
    service = Starting(answer)
    service.look_after(6)
    assert service.said == ["starting; waiting for: api"]


def test_a_start_that_takes_too_long_ends_with_the_names():
    service = Starting(not_ready(worker=MISSING))
    with pytest.raises(CommandError, match=r"not ready after 300 s; still missing: worker"):
        service.look_after(301)
