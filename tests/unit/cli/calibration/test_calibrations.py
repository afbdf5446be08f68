import base64
import json

import httpx
import pytest

from med3d_cli.calibration.calibrations import _only_one, send, withdraw
from med3d_cli.errors import CommandError
from med3d_client.calibrations import CalibrationsClient
from med3d_client.transport import ApiError
from med3d_contract.calibrations import CalibrationView

VIEW = {
    "digest": "ab" * 32, "site": "Ward 3", "bundle_digest": "b" * 64, "heads": 24, "expires": "2027-03-01",
    "added_at": "2026-03-01T00:00:00Z", "withdrawn_at": None,
}  # fmt: skip


def client(answer, asked):
    def handle(request):
        asked.append(request)
        return answer

    return CalibrationsClient("http://med3d", "key", transport=httpx.MockTransport(handle), sleep=lambda _s: None)


def test_a_file_and_its_signature_are_sent_as_they_are():
    asked = []
    found = client(httpx.Response(201, json=VIEW), asked).send(b"{}\n", b"\x00\xff")
    assert found.site == "Ward 3"
    sent = json.loads(asked[0].content)
    assert (base64.b64decode(sent["file"]), base64.b64decode(sent["signature"])) == (b"{}\n", b"\x00\xff")
    assert (asked[0].method, asked[0].url.path) == ("POST", "/calibrations")


def test_those_that_are_there_are_listed():
    assert client(httpx.Response(200, json={"items": [VIEW]}), []).all()[0].digest == "ab" * 32


def test_one_is_withdrawn_by_its_digest():
    asked = []
    client(httpx.Response(204), asked).withdraw("ab" * 32)
    assert (asked[0].method, asked[0].url.path) == ("DELETE", f"/calibrations/{'ab' * 32}")


def test_what_the_service_refuses_is_told_in_its_words():
    problem = {"code": "calibration_unreadable", "detail": "It is none.", "remedy": "Send another."}
    with pytest.raises(ApiError, match=r"It is none\. Send another"):
        client(httpx.Response(422, json=problem), []).send(b"", b"")


def test_the_beginning_of_a_digest_names_one_calibration_or_none():
    known = tuple(CalibrationView.model_validate(VIEW | {"digest": digest * 32}) for digest in ("ab", "cd"))
    assert _only_one("abababab", known) == "ab" * 32
    for beginning in ("abab", "efefefef"):
        with pytest.raises(CommandError, match="med3d calibrations list"):
            _only_one(beginning, known)


def test_what_was_sent_and_withdrawn_is_told_to_programs_too(monkeypatch, tmp_path, capsys):
    answers = {
        "POST": httpx.Response(201, json=VIEW),
        "GET": httpx.Response(200, json={"items": [VIEW]}),
        "DELETE": httpx.Response(204),
    }
    transport = httpx.MockTransport(lambda request: answers[request.method])
    reached = CalibrationsClient("http://med3d", "key", transport=transport)
    monkeypatch.setattr("med3d_cli.calibration.calibrations.connect_to_calibrations", lambda: reached)
    for name in ("site.json", "site.json.sig"):
        (tmp_path / name).write_bytes(b"{}")
    send(tmp_path / "site.json", as_json=True)
    assert json.loads(capsys.readouterr().out)["digest"] == "ab" * 32
    withdraw("abababab", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"withdrawn": "ab" * 32}
