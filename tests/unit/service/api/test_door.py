"""Who calls is known before a body is read, and places go to those who are known."""

import asyncio
import gzip
import json
from dataclasses import dataclass, field

import anyio
import pytest
from starlette.requests import ClientDisconnect
from structlog.testing import capture_logs

from med3d_service.api.door.bodies import ASK_EVERY_S, FRESH_S, IncomingBody, Pace
from med3d_service.api.door.connections import OTHER_DESCRIPTORS, Places, Room
from med3d_service.api.door.door import CONNECTION
from med3d_service.api.door.marks import LARGEST_JSON
from med3d_service.api.door.strangers import ANSWERS_PER_S, AT_ONCE, LONGEST_WAIT_S, Strangers
from med3d_service.logs import TOLD_EVERY_S, Tally
from med3d_service.problem_answers import with_unexpected_errors
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.trust.access import Role
from med3d_service.trust.access.api_keys import revoke_key
from med3d_service.trust.audit.trail import entries
from rig.service.api import open_api

BAD_JSON = b'{"name": '


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"), failed_keys_per_minute=10_000)
    yield made
    made.close()


def posted(api, path, content, key=None):
    return api.request("POST", path, key, content=content, headers={"Content-Type": "application/json"})


def last_entry(api):
    with api.service.database.read() as session:
        return list(entries(session))[-1]


@pytest.mark.parametrize("key", [None, "m3d_00000000_guess"])
@pytest.mark.parametrize("path", ["/cohorts", "/studies/{study_id}/runs", "/worker/hello", "/pulls", "/calibrations"])
def test_bad_json_of_a_stranger_is_as_unknown_as_good_json_and_leaves_its_entry(api, path, key):
    good, bad = (posted(api, path.format(**api.ids), content, key) for content in (b"{}", BAD_JSON))
    assert good.status_code == bad.status_code == 401
    assert good.content == bad.content
    entry = last_entry(api)
    assert (entry.action, entry.outcome) == ("enter", "denied")
    assert json.loads(entry.detail) == {"route": path, "status": 401}


def test_strangers_who_never_stop_asking_wait_and_one_who_asks_does_not():
    now = [100.0]
    strangers = Strangers(lambda: now[0])
    assert [strangers.turn_s() for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    waits = [strangers.turn_s() for _ in range(1000)]
    assert waits == sorted(waits)
    assert 0 < waits[0] < 0.1
    assert max(waits) == LONGEST_WAIT_S
    now[0] += LONGEST_WAIT_S + AT_ONCE / ANSWERS_PER_S
    assert strangers.turn_s() == 0.0


@dataclass
class Line:
    """A connection of a stranger, or of who is known."""

    trusted: bool = False

    def trust(self):
        self.trusted = True

    def linger(self):
        pass

    drop = linger


def test_who_is_known_waits_for_no_stranger(api):
    async def asked(authorization=()):
        line, said = Line(), []
        scope = {
            "type": "http", "method": "GET", "path": "/runs", "raw_path": b"/runs", "root_path": "", "scheme": "http",
            "query_string": b"", "headers": [(b"host", b"med3d"), *authorization], "client": ("127.0.0.9", 1),
            "http_version": "1.1", "server": ("med3d", 80), "extensions": {CONNECTION: {"connection": line}},
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            said.append(message)

        since = anyio.current_time()
        await api.app(scope, receive, send)
        return said[0]["status"], anyio.current_time() - since, line.trusted

    async def flood_and_ask():
        known = [(b"authorization", f"Bearer {api.key(Role.VIEWER)}".encode())]
        async with anyio.create_task_group() as group:
            waited = []

            async def stranger():
                waited.append(await asked())

            for _ in range(AT_ONCE + 25):
                group.start_soon(stranger)
            await anyio.lowlevel.checkpoint()
            status, _, trusted = await asked(known)
            assert (status, trusted) == (200, True)
        return waited

    waited = anyio.run(flood_and_ask)
    assert {status for status, _, _ in waited} == {401}
    assert max(seconds for _, seconds, _ in waited) > 0.4, "the last of them had to wait"


def test_bad_json_of_who_may_not_is_not_looked_at_either(api):
    answer = posted(api, "/cohorts", BAD_JSON, api.key(Role.VIEWER))
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_scope")
    assert posted(api, "/cohorts", BAD_JSON, api.key(Role.SUBMITTER)).status_code == 422


def test_what_is_not_there_is_shown_to_nobody_without_a_key(api):
    assert api.request("GET", "/nothing").status_code == 401
    assert api.request("GET", "/nothing", api.key(Role.VIEWER)).status_code == 404
    assert api.request("DELETE", "/cohorts").status_code == 401
    assert api.request("DELETE", "/cohorts", api.key(Role.VIEWER)).status_code == 405
    assert api.request("DELETE", "/healthz").status_code == 405


def test_a_body_may_be_as_large_as_its_route_says(api):
    key, worker = api.key(Role.SUBMITTER), api.key(Role.WORKER)
    filler = b" " * LARGEST_JSON
    too_large = posted(api, "/cohorts", filler + b"{}", key)
    assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
    assert "1024 KiB" in too_large.json()["detail"]
    assert posted(api, "/cohorts", filler[:-2] + b"{}", key).status_code == 422
    in_bulk = api.request("PUT", "/worker/outcomes", worker, content=filler + b"{}")
    assert in_bulk.status_code == 422, "a batch of answers is longer than other JSON"


@pytest.mark.parametrize(("headers", "expected"), [
    ({"Content-Encoding": "gzip"}, (415, "body_encoded")),
    ({"Content-Encoding": "identity, BR"}, (415, "body_encoded")),
    ({"Transfer-Encoding": "gzip, chunked"}, (501, "unknown_transfer_coding")),
    ({"Transfer-Encoding": "chunked, chunked"}, (501, "unknown_transfer_coding")),
    ({"Content-Encoding": "identity"}, (422, "invalid_request")),
    ({"Transfer-Encoding": "Chunked"}, (422, "invalid_request")),
])  # fmt: skip
def test_a_body_in_a_coding_that_is_not_undone_is_not_taken_for_what_it_is_not(api, headers, expected):
    packed, headers = gzip.compress(b'{"name": "packed"}'), headers | {"Content-Type": "application/json"}
    answer = api.request("POST", "/cohorts", api.key(Role.SUBMITTER), content=packed, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == expected
    assert api.request("POST", "/cohorts", content=packed, headers=headers).status_code == 401


def test_an_upload_that_is_compressed_as_a_whole_is_told_of_it(api):
    answer = api.request("POST", "/studies", api.key(Role.SUBMITTER), content=gzip.compress(b"--x\r\n"), headers={
        "Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"
    })  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (415, "body_encoded")


def test_who_sends_no_body_may_name_a_coding(api):
    assert api.request("GET", "/cohorts", api.key(Role.VIEWER), headers={"Content-Encoding": "gzip"}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_monitor_may_ask_for_the_head_alone(api, path):
    whole, head = api.request("GET", path), api.request("HEAD", path)
    assert head.status_code == whole.status_code != 405
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


def test_a_key_that_is_revoked_while_a_body_comes_has_its_body_not_taken(api):
    key = api.key(Role.SUBMITTER)

    async def body():
        yield b"--x\r\n"
        await anyio.sleep(FRESH_S)
        with api.service.database.write() as session:
            revoke_key(session, key.split("_")[1])
        yield b"--x--\r\n"

    before = api.request("GET", "/studies", api.key(Role.VIEWER)).json()
    answer = api.request("POST", "/studies", key, content=body(), headers={
        "Content-Type": "multipart/form-data; boundary=x"
    })  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")
    assert api.request("GET", "/studies", api.key(Role.VIEWER)).json() == before


def test_a_body_that_goes_on_is_asked_about_again_and_a_short_one_is_not():
    asked = []

    async def whether():
        asked.append(True)

    async def read(waited_s):
        body = IncomingBody(scope_of(**{"content-length": "4"}), pieces(b"ab", b"cd"), Pace(10, 1e6, 60))
        body.ask_again(whether)
        body._asked_at -= waited_s
        await body.receive()
        await body.receive()

    anyio.run(read, 0.0)
    assert asked == []
    anyio.run(read, ASK_EVERY_S + 1)
    assert asked == [True], "once for both pieces"


# --- the pace ---


def scope_of(**headers):
    return {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


def pieces(*bodies, pause_s=0.0):
    left = list(bodies)

    async def receive():
        await anyio.sleep(pause_s)
        if not left:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


def test_a_body_that_stops_is_given_up_after_the_time_that_it_earned():
    pace = Pace(grace_s=0.05, bytes_per_s=1000, longest_s=60)
    body = IncomingBody(scope_of(**{"transfer-encoding": "chunked"}), pieces(b"x" * 50, b"y" * 50), pace)

    async def read():
        with pytest.raises(ServiceError, match="request_too_slow"):
            await body.read_whole(LARGEST_JSON)
        return anyio.current_time()

    began_s, ended_s = anyio.run(_timed, read)
    assert 0.1 < ended_s - began_s < 1, "0.05 s, and 0.1 s for 100 bytes"


async def _timed(work):
    return anyio.current_time(), await work()


def test_our_own_time_is_not_the_senders():
    pace = Pace(grace_s=0.1, bytes_per_s=1e6, longest_s=60)
    body = IncomingBody(scope_of(**{"content-length": "4"}), pieces(b"ab", b"cd"), pace)

    async def read():
        first = await body.receive()
        await anyio.sleep(0.3)  # what a route does with it
        return first["body"] + (await body.receive())["body"]

    assert anyio.run(read) == b"abcd"


def test_no_pace_earns_more_than_the_longest_time():
    pace = Pace(grace_s=10, bytes_per_s=8192, longest_s=3600)
    assert pace.allowed_s(0) == 10
    assert pace.allowed_s(81920) == 20
    assert pace.allowed_s(4 * 1024**3) == 3600


# --- places ---


@dataclass(eq=False)
class Guest:
    address: str | None
    dropped: bool = False

    def drop(self):
        self.dropped = True


@dataclass
class Hall:
    connections: int = 4
    per_address: int = 2
    proxies: str = ""
    counted: list = field(default_factory=list)

    def __post_init__(self):
        self.places = Places(Room(self.connections, self.per_address, 1), self.proxies, self.counted.append)

    def guest(self, address="10.0.0.1"):
        made = Guest(address)
        assert self.places.enter(made)
        return made


def test_the_oldest_stranger_of_a_crowded_address_makes_room():
    hall = Hall()
    first, second, other = hall.guest(), hall.guest(), hall.guest("10.0.0.2")
    hall.guest()
    assert (first.dropped, second.dropped, other.dropped) == (True, False, False)
    assert hall.counted == ["made_room"]


def test_a_network_of_ipv6_is_counted_as_one_and_ipv4_in_it_as_what_it_is():
    hall = Hall(connections=9)
    first, _, other = hall.guest("2001:db8::1"), hall.guest("2001:db8::2"), hall.guest("2001:db8:0:1::1")
    hall.guest("2001:db8::ffff:3")
    assert (first.dropped, other.dropped) == (True, False)
    assert not any(hall.guest(f"::ffff:10.0.0.{one}").dropped for one in range(4))
    many = Hall(connections=9, proxies="2001:db8::7")
    assert not any(many.guest("2001:db8::7").dropped for _ in range(3))


def test_a_full_hall_takes_from_the_address_that_has_most():
    hall = Hall(connections=3)
    one, many, _ = hall.guest("10.0.0.1"), hall.guest("10.0.0.2"), hall.guest("10.0.0.2")
    hall.guest("10.0.0.3")
    assert (one.dropped, many.dropped) == (False, True)


def test_who_is_known_keeps_the_place_until_the_answer_is_given():
    hall = Hall()
    known = [hall.guest(), hall.guest()]
    for guest in known:
        hall.places.keep(guest)
    assert not hall.places.enter(Guest("10.0.0.1"))
    assert hall.counted == ["no_place"]
    hall.places.spare(known[1])
    hall.guest()
    assert [guest.dropped for guest in known] == [False, True]


def test_a_place_that_was_left_is_free():
    hall = Hall()
    first, second = hall.guest(), hall.guest()
    for _ in range(2):
        hall.places.leave(first)
        hall.places.leave(second)
    hall.places.spare(first)
    kept = [hall.guest(), hall.guest()]
    assert hall.counted == []
    assert not any(guest.dropped for guest in (first, second, *kept))


@pytest.mark.parametrize("proxies", ["10.0.0.1", "10.0.0.0/8, 192.168.1.1", "*"])
def test_many_may_stand_behind_a_trusted_proxy_and_a_socket(proxies):
    hall = Hall(connections=6, proxies=proxies)
    assert not any(hall.guest().dropped for _ in range(3))
    assert not any(hall.guest(None).dropped for _ in range(3))
    assert hall.counted == []


def test_the_room_fits_the_files_that_the_process_may_open():
    settings = Settings(connections=1024, connections_per_address=256)
    assert Room.within(settings, 100_000) == Room(1024, 256, 2048)
    small = Room.within(settings, 1024)
    assert small.connections + small.backlog <= 1024 - OTHER_DESCRIPTORS
    assert small.connections > 400


# --- the log ---


def test_a_flood_makes_one_line_in_its_interval():
    clock = iter([0.0, 0.0, *[1.0] * 998, TOLD_EVERY_S, TOLD_EVERY_S])
    tally = Tally("connections_turned_away", lambda: next(clock))
    with capture_logs() as told:
        for _ in range(1000):
            tally.count("no_place")
    said = [line for line in told if line["event"] == "connections_turned_away"]
    assert len(said) == 2
    assert said[1]["no_place"] == 999


@pytest.mark.parametrize(("fault", "said"), [(ClientDisconnect, "sender_hung_up"), (KeyError, "unexpected_error")])
def test_who_hangs_up_within_a_body_is_no_error_of_ours(fault, said):
    async def route(_scope, _receive, _send):
        raise fault

    sent = []

    async def send(message):
        sent.append(message)

    with capture_logs() as told:
        asyncio.run(with_unexpected_errors(route)({"type": "http", "method": "POST", "headers": []}, None, send))
    assert [(one["event"], one["log_level"]) for one in told] == [(said, "error" if fault is KeyError else "info")]
    assert sent[0]["status"] == 500
