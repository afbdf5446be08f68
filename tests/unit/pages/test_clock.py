"""The clock of the pages: its zone has a name where the machine or TZ gives one."""

import time

import pytest

from med3d_pages.clock import local_zone, zone


@pytest.fixture
def in_zone(monkeypatch):
    def move(said):
        monkeypatch.setenv("TZ", said)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("said", "named", "written"),
    [
        ("Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo, UTC+09:00"),
        (":Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo, UTC+09:00"),
        ("JST-9", "UTC", "UTC+09:00"),
        ("Etc/UTC", "Etc/UTC", "UTC+00:00"),
        ("", "UTC", "UTC+00:00"),
        ("America/Phoenix", "America/Phoenix", "America/Phoenix, UTC\N{MINUS SIGN}07:00"),
    ],
)
def test_the_setting_of_a_process_names_its_zone(in_zone, said, named, written):
    in_zone(said)
    assert (local_zone(), zone()) == (named, written)
