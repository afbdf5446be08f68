"""What somebody without a key can do to a real API process: little, and it costs little."""

import contextlib
import socket
import time
from pathlib import Path

import httpx
import psutil
import pytest

from med3d_service.api.door.protocol import LARGEST_HEAD, MOST_AHEAD, MOST_HEADERS
from rig.processes.floods import flood
from rig.processes.service import Processes
from rig.processes.waiting import wait_until

MIB = 1024 * 1024
QUICK = {"MED3D_HOST": "::", "MED3D_HEAD_S": "1.5", "MED3D_BODY_GRACE_S": "1", "MED3D_SWEEP_S": "0.1"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    made = Processes(tmp_path_factory.mktemp("data"), **QUICK)
    yield made.start("broker", "api")
    made.close()


def test_what_it_holds_gets_into_no_core_file(service):
    limits = Path(f"/proc/{service.running['api'].pid}/limits").read_text().splitlines()
    (cores,) = (line.split() for line in limits if line.startswith("Max core file size"))
    assert cores[4:6] in [["1", "1"], ["0", "0"]]


def connected(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def answer_of(connection):
    """All that comes until the end, by whichever way it ends."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionError:
        pass
    return said


def sent(connection, pieces):
    """Send as far as it is taken."""
    try:
        for piece in pieces:
            connection.sendall(piece)
    except ConnectionError:
        pass


def status(answer):
    return answer.split(b"\r\n")[0].split(b" ")[1] if answer else b""


def memory_mib(service):
    return psutil.Process(service.running["api"].pid).memory_info().rss / MIB


def processor_s(service):
    """What the API has computed, however busy the machine is with others."""
    return sum(psutil.Process(service.running["api"].pid).cpu_times()[:2])


def open_connections(service):
    found = psutil.Process(service.running["api"].pid).net_connections("tcp")
    return sum(one.laddr.port == service.port and one.status != psutil.CONN_LISTEN for one in found)


def log_bytes(service):
    return (service.data_dir / "api.log").stat().st_size


def test_sixty_mib_of_nested_json_without_a_key_are_not_read(service):
    before_mib, before_s = memory_mib(service), processor_s(service)
    with connected(service) as connection:
        head = b"POST /cohorts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        sent(connection, [head % (60 * MIB), *[b"[" * MIB] * 30, *[b"]" * MIB] * 30])
        answer = answer_of(connection)
    assert status(answer) == b"401"
    assert b"missing_key" in answer
    assert service.client.get("/healthz").status_code == 200
    assert processor_s(service) - before_s < 2
    assert memory_mib(service) - before_mib < 60


def test_a_header_without_an_end_is_cut_off(service):
    before_mib, before_s = memory_mib(service), processor_s(service)
    with connected(service) as connection:
        sent(connection, [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", *[b"a" * MIB] * 200])
        answer = answer_of(connection)
    assert processor_s(service) - before_s < 2
    assert status(answer) == b"431"
    assert b"headers_too_large" in answer
    assert memory_mib(service) - before_mib < 30


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(f"x-{n}", "1") for n in range(MOST_HEADERS - 8)], 200),
        ([(f"x-{n}", "1") for n in range(MOST_HEADERS + 1)], 431),
        ([("x-large", "a" * (LARGEST_HEAD - 2000))], 200),
        ([("x-large", "a" * LARGEST_HEAD)], 431),
    ],
)
def test_so_many_and_so_large_headers_are_taken_and_no_more(service, headers, expected):
    answer = httpx.get(f"{service.url}/healthz", headers=headers)
    assert answer.status_code == expected


def test_what_is_no_http_is_answered_and_does_not_fill_the_log(service):
    before = log_bytes(service)
    for _ in range(200):
        with connected(service) as connection:
            sent(connection, [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"])
            assert status(answer_of(connection)) == b"400"
    assert log_bytes(service) - before < 2000


def test_what_is_no_http_behind_a_request_ends_both_and_does_not_fill_the_log(service):
    before, others = log_bytes(service), open_connections(service)
    with contextlib.ExitStack() as held:
        for _ in range(50):
            connection = held.enter_context(connected(service))
            sent(connection, [b"GET /runs HTTP/1.1\r\nHost: x\r\n\r\n\x00"])
            assert status(answer_of(connection)) in {b"400", b"401"}
        wait_until(lambda: open_connections(service) <= others, "all of them have ended")
    assert log_bytes(service) - before < 2000


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_who_never_ends_a_head_is_not_waited_for(service, begun):
    began = time.monotonic()
    with connected(service) as connection:
        sent(connection, [begun])
        answer_of(connection)  # which would raise, had nobody ended the connection
    assert time.monotonic() - began >= float(QUICK["MED3D_HEAD_S"])


def test_who_stops_sending_a_body_is_told(service):
    head = (
        f"POST /cohorts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        "Content-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    )
    for path, kind in (("/cohorts", "application/json"), ("/studies", "multipart/form-data; boundary=b")):
        with connected(service) as connection:
            sent(connection, [head.replace("/cohorts", path).replace("{kind}", kind).encode() + b"--b\r\n"])
            answer = answer_of(connection)
        assert status(answer) == b"408", answer
        assert b"request_too_slow" in answer


def test_json_is_one_mib_at_most_and_more_is_not_waited_for(service):
    large = b'{"name": "' + b"a" * MIB + b'"}'
    assert service.client.post("/cohorts", content=large).json()["code"] == "body_too_large"
    chunked = service.client.post("/cohorts", content=iter([large[: MIB // 2]] * 3))
    assert (chunked.status_code, chunked.json()["code"]) == (413, "body_too_large")
    assert service.client.post("/cohorts", content=b'{"name": "' + b"a" * 1000 + b'"}').status_code == 422


def whole_post(name, key, wish=""):
    body = b'{"name": "%s"}' % name.encode()
    head = f"POST /cohorts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{wish}"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + kind).encode(), body


def test_every_address_is_of_both_kinds(service):
    """The other tests come by IPv4."""
    with socket.create_connection(("::1", service.port), timeout=30) as connection:
        sent(connection, [b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
        head, _, body = answer_of(connection).partition(b"\r\n\r\n")
    assert (status(head), body) == (b"200", b"")


def test_an_unknown_transfer_coding_ends_the_connection(service):
    head = f"POST /cohorts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
    body = b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with connected(service) as connection:
        sent(connection, [head.encode() + body, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
        answer = answer_of(connection)
    assert (status(answer), answer.count(b"HTTP/1.1 ")) == (b"501", 1)
    assert b"unknown_transfer_coding" in answer


def test_what_stands_behind_a_body_is_no_header(service):
    trailers = f"0\r\nAuthorization: Bearer {service.key}\r\nContent-Type: application/json\r\n\r\n".encode()
    head = b"POST /cohorts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(service) as connection:  # in one piece: the request is looked at when all of it is parsed
        sent(connection, [head + b'13\r\n{"name": "trailed"}\r\n' + trailers])
        assert status(answer_of(connection)) == b"401"


def test_a_wish_for_another_protocol_costs_a_request_nothing(service):
    wish = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    with connected(service) as connection:  # as Java's client asks, twice on one connection, the second in pieces
        sent(connection, [b"".join(whole_post("wished-1", service.key, wish))])
        sent(connection, whole_post("wished-2", service.key, wish))
        sent(connection, [b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
        answer = answer_of(connection)
    assert [answer.count(b"HTTP/1.1 %d" % status) for status in (201, 200, 422)] == [2, 1, 0], answer
    assert {"wished-1", "wished-2"} <= {one["name"] for one in service.client.get("/cohorts").json()["items"]}


def test_a_wish_for_another_protocol_gets_past_no_bound(service):
    wish = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    with connected(service) as connection:
        sent(connection, [b"GET /healthz HTTP/1.1\r\n", wish, b"X-Long: " + b"a" * (LARGEST_HEAD + 1) + b"\r\n\r\n"])
        assert status(answer_of(connection)) == b"431"
    with connected(service) as connection:
        sent(connection, [b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"])
        assert status(answer_of(connection)) == b"400"


@pytest.mark.parametrize("wish", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_some_requests_may_be_sent_ahead_but_not_thousands(service, wish):
    one = b"GET /healthz HTTP/1.1\r\n" + wish + b"\r\n"
    last = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    with connected(service) as connection:
        sent(connection, [one * MOST_AHEAD + last])
        assert answer_of(connection).count(b"HTTP/1.1 200") == MOST_AHEAD + 1
    before_mib = memory_mib(service)
    connections = [connected(service) for _ in range(20)]
    for connection in connections:
        sent(connection, [one * (200_000 // len(one))])
    for connection in connections:
        answer_of(connection)
        connection.close()
    assert memory_mib(service) - before_mib < 30


@pytest.mark.long
def test_two_thousand_that_say_nothing_and_two_hundred_that_never_stop_shut_nobody_out(service):
    before = log_bytes(service)
    with flood(service.port, idle=2000, flooding=200):
        took_s = []
        for number in range(10):
            began = time.monotonic()
            answer = httpx.post(
                f"{service.url}/cohorts",
                headers={"Authorization": f"Bearer {service.key}"},
                json={"name": f"flooded-{number}"},
                timeout=30,
            )
            took_s.append(time.monotonic() - began)
            assert answer.status_code == 201, answer.text
            time.sleep(0.3)
    assert max(took_s) < 2, took_s
    assert log_bytes(service) - before < 20_000


def test_who_is_known_keeps_the_place_that_a_flood_wants(tmp_path):
    patient = QUICK | {"MED3D_HEAD_S": "60", "MED3D_BODY_GRACE_S": "60"}
    service = Processes(tmp_path, **patient, MED3D_CONNECTIONS="40", MED3D_CONNECTIONS_PER_ADDRESS="20").start(
        "broker", "api"
    )
    try:
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        kind = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        with connected(service) as uploading:
            sent(uploading, [(head + kind).encode()])
            assert uploading.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n", "its caller is known now"
            strangers = [connected(service) for _ in range(60)]
            sent(uploading, [b"--b--\r\n" + b" " * 93])
            assert status(answer_of(uploading)) == b"422", "it was read to its end"
            ended = lambda: sum(_has_ended(stranger) for stranger in strangers) >= 40  # noqa: E731
            wait_until(ended, "the first ones make room for those who came after")
            for stranger in strangers:
                stranger.close()
    finally:
        service.close()


def _has_ended(connection):
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
