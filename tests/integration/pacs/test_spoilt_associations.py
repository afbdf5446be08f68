"""A short, seeded part of `make fuzz`: spoilt associations end, are told apart by a code, and leave nothing behind."""

import socket

import pytest

from fuzz.associations import IDLE_S, Target, kept_seeds, run, speak
from fuzz.streams import Spoilt, pdus_of, spoil
from rig.peers.slow import was_cut_off
from rig.processes.waiting import wait_until

CALLING_AE_TITLE = slice(26, 42)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    made = Target(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def streams(target, tmp_path_factory):
    return target.recorded(tmp_path_factory.mktemp("sent"), None)


def test_the_same_number_is_the_same_stream(streams):
    assert spoil(streams, 7) == spoil(streams, 7)
    assert spoil(streams, 7) != spoil(streams, 8)


def test_recordings_are_whole_associations_of_every_service(streams):
    assert {"pynetdicom C-ECHO", "pynetdicom C-STORE", "pynetdicom N-EVENT-REPORT"} <= set(streams)
    for pdus in streams.values():
        assert (pdus[0][0], pdus[-1][0]) == (1, 5), "from the request to the release"
        assert pdus_of(b"".join(pdus)) == pdus


def test_spoilt_associations_find_nothing(target, streams):
    numbers = [*kept_seeds(), *range(5_000_000, 5_000_150)]
    report = run(target, streams, numbers)
    assert report.findings == []
    assert sum(report.answers.values()) == len(numbers)
    assert len(report.answers) > 5, "they get to different places"


def test_what_a_peer_calls_itself_is_not_repeated_in_the_log(target, streams):
    request = bytearray(streams["pynetdicom C-ECHO"][0])
    request[CALLING_AE_TITLE] = b"DOE^JANE\xff\n\0     "
    with socket.create_connection(("127.0.0.1", target.port), timeout=10) as connection:
        connection.sendall(request)
        assert connection.recv(1)[:1] == b"\x03", "A-ASSOCIATE-RJ"
    wait_until(lambda: target.listening.events()["association_rejected"], "the line in the log")
    assert "JANE" not in target.listening.log()
    assert target.unclassified() == []


def test_a_report_that_cannot_be_read_is_told_so_and_is_no_fault_of_ours(target, streams):
    pdus = list(streams["pynetdicom N-EVENT-REPORT"])
    [at] = [number for number, pdu in enumerate(pdus) if b"\x08\0\x95\x11UI" in pdu]  # the transaction's UID
    pdus[at] = pdus[at].replace(b"\x08\0\x95\x11UI", b"\x08\0\x95\x11QQ")
    spoilt = Spoilt("report", ("other VR",), b"".join(pdus), 4096, "closes")
    assert speak(target.port, spoilt) == "accepted, 0x0110, released"
    assert target.unclassified() == []
    wait_until(lambda: target.listening.events()["report_unreadable"] >= 1, "the line in the log")


def test_a_peer_that_says_a_byte_now_and_then_holds_no_place(target, streams):
    with socket.create_connection(("127.0.0.1", target.port), timeout=10) as connection:
        request = streams["pynetdicom C-ECHO"][0]
        connection.sendall(request[:50])
        connection.settimeout(0.4 * IDLE_S)
        assert was_cut_off(connection, request[50:-1])


def test_the_listener_still_serves_who_behaves(target, streams):
    whole = Spoilt("pynetdicom", (), b"".join(streams["pynetdicom C-STORE"]), 4096, "closes")
    assert speak(target.port, whole) == "accepted, 0x0000, released"
