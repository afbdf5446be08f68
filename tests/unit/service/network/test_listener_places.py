"""Places at the DICOM listener: by address at accept, bounded for each, some kept for those who are listed by name."""

import socket
import ssl
import threading
from dataclasses import dataclass, field

import pytest

from med3d_service.network.listener.admission import AllowList, Caller
from med3d_service.network.listener.own_titles import load_own_titles
from med3d_service.network.listener.places import ARTIM_S, Places
from med3d_service.network.listener.server import Listener
from med3d_service.network.peers import Peers
from med3d_service.settings import Settings
from rig.peers.dcmtk import certificates
from rig.processes.waiting import wait_until


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Noted:
    def __init__(self):
        self.noted = []

    def note(self, because, address):
        self.noted.append((because, address))


class Connection:
    was_cut_off = False

    def shutdown(self, how):
        del how
        self.was_cut_off = True


@dataclass
class Hall:
    associations: int = 8
    per_address: int = 4
    allowed: tuple = ("SCANNER@10.0.0.1", "*@10.1.0.0/16")
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self):
        settings = Settings(dicom_associations=self.associations, dicom_associations_per_address=self.per_address)
        self.places = Places(settings, AllowList([Caller.parse(text) for text in self.allowed]), self.clock)

    def take(self, address, times=1):
        return [self.places.take(threading.Thread(), Connection(), address) for _ in range(times)]


def test_an_address_that_nobody_may_call_from_gets_no_place():
    hall = Hall()
    assert hall.take("10.2.0.1", 100) == ["address_unknown"] * 100
    assert hall.take("10.0.0.1") == [None]
    assert hall.take("::ffff:10.0.0.1") == [None]


def test_one_address_has_so_many_places_and_no_more():
    assert Hall().take("10.1.0.5", 6) == [None] * 4 + ["address_limit"] * 2


def test_a_network_cannot_take_the_places_of_those_who_are_listed_by_address():
    hall = Hall(associations=8)
    taken = [hall.take(f"10.1.0.{host}")[0] for host in range(10)]
    assert taken == [None] * 6 + ["local_limit"] * 4
    assert hall.take("10.0.0.1", 3) == [None, None, "local_limit"]


def test_who_has_not_asked_in_time_is_cut_off_and_who_is_at_work_is_not():
    hall = Hall()
    silent, working = Connection(), Connection()
    hall.places.take(threading.Thread(), silent, "10.1.0.5")
    hall.places.take(threading.current_thread(), working, "10.1.0.6")
    hall.places.opened()
    hall.clock.now = ARTIM_S - 1
    assert hall.places.cut_off_overdue() == 0
    hall.clock.now = ARTIM_S
    assert hall.places.cut_off_overdue() == 1
    assert (silent.was_cut_off, working.was_cut_off) == (True, False)


def test_a_place_that_was_left_is_free():
    hall = Hall(per_address=1)
    assert hall.places.take(threading.current_thread(), Connection(), "10.0.0.1") is None
    assert hall.take("10.0.0.1") == ["address_limit"]
    hall.places.leave()
    assert hall.take("10.0.0.1") == [None]


def test_an_ipv4_address_that_is_listed_as_ipv6_is_that_address():
    allowed = AllowList([Caller.parse("SCANNER@::ffff:10.0.0.1"), Caller.parse("*@::ffff:10.1.0.0/112")])
    for address in ("10.0.0.1", "::ffff:10.0.0.1"):
        assert allowed.names_address(address)
    assert (allowed.admits("SCANNER", "10.1.2.3"), allowed.admits("SCANNER", "10.2.0.1")) == (True, False)
    assert AllowList([Caller.parse("*@::/0")]).admits_address("fe80::1")


class Silent:
    """Notes and counts nothing."""

    def __getattr__(self, _name):
        return lambda *_: None


def test_every_address_of_ipv6_takes_ipv4_and_sees_it_as_such():
    noted = Noted()
    settings = Settings(dicom_host="::", dicom_port=0, dicom_allowed=("*@10.0.0.1",))
    listener = Listener(settings, Peers(), None, None, noted, Silent(), load_own_titles(settings))
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, listener.port), timeout=60):
            listener.accept(60)
    listener.close()
    assert noted.noted == [("address_unknown", "127.0.0.1"), ("address_unknown", "::1")]


def test_a_tls_handshake_that_does_not_end_in_time_is_cut_off(tmp_path):
    keys, clock = certificates(tmp_path), Clock()
    files = {"cert": "listener.pem", "key": "listener.key", "client_ca": "ca.pem"}
    settings = Settings(dicom_port=0, **{f"dicom_tls_{name}": keys / file for name, file in files.items()})
    noted = Noted()
    listener = Listener(
        settings, Peers(), None, None, noted, Silent(), load_own_titles(settings)
    )  # nobody gets as far as to send
    listener._places = Places(settings, AllowList([Caller.parse("*@127.0.0.1")]), clock)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=60) as silent:
        listener.accept(60)
        (thread,) = listener._places.threads()
        wait_until(lambda: isinstance(listener._places._held[thread].connection, ssl.SSLSocket), "TLS")
        clock.now = ARTIM_S
        listener.accept(0.01)
        assert silent.recv(1) == b""
        wait_until(lambda: not thread.is_alive(), "the end of its thread")
    listener.close()
    assert noted.noted == [("tls", "127.0.0.1")]


@pytest.mark.parametrize(("address", "known", "named"), [
    ("10.0.0.1", True, True), ("10.1.2.3", True, False), ("10.2.0.1", False, False), ("::1", False, False),
])  # fmt: skip
def test_addresses_are_known_by_themselves_or_by_their_network(address, known, named):
    allowed = AllowList([Caller.parse("SCANNER@10.0.0.1"), Caller.parse("*@10.1.0.0/16")])
    assert (allowed.admits_address(address), allowed.names_address(address)) == (known, named)
