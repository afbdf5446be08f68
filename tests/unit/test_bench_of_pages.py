"""The benchmark of the pages: a part that misses its time or is answered with an error ends, and its records can be read."""

import random
from types import SimpleNamespace

import pytest

from bench.bench_pages import PART_S, MissedError, Part, is_late, main, measure, open_page, open_viewer, rows_of
from bench.bench_records import rows_of as records_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.tables import IdentifierRow


class Tab:
    """A tab of a browser that is answered with this status."""

    def __init__(self, status=200):
        self.status, self.closed = status, False

    def goto(self, path, wait_until):
        return SimpleNamespace(status=self.status)

    def set_default_timeout(self, milliseconds):
        assert milliseconds <= 1000 * PART_S

    def close(self):
        self.closed = True


def window(tab):
    return SimpleNamespace(new_page=lambda: tab)


def test_a_page_answered_with_an_error_is_missed_and_not_measured():
    for opened in (open_page, open_viewer):
        tab = Tab(500)
        part = measure("result", window(tab), lambda page, opened=opened: opened(page, "/ui"), 5)
        assert (part.taken, part.missed, tab.closed) == ([], "answered with 500", True)
        assert is_late(part)
    assert list(rows_of({"result": part})) == [["result", "missed", "missed", "missed", "missed"]]


def test_a_part_ends_with_its_time_and_keeps_what_it_has():
    times = iter([0, 1, 2, PART_S + 1])
    part = measure("worklist", window(Tab()), lambda page: [50, 60, 70, 1000], 20, clock=lambda: next(times))
    assert (len(part.taken), part.missed) == (2, f"2 of 20 loads in {PART_S} s")
    assert not is_late(part)


def test_identifiers_of_stored_records_open_for_who_may_read_them():
    vault = IdentifierVault(SiteKeys(b"o" * 32, b"i" * 32, b"b" * 32, b"u" * 32))
    row = records_of(7, random.Random(1), vault, {key: {} for key in ("completed", "refused", "failed")})[-1]
    assert vault.opened(IdentifierRow(**row)) == "A-7"


def test_what_one_database_took_is_told_before_the_next_begins(capsys):
    def bench(name, _folder, _given):
        if name == "postgresql":
            raise MissedError("it does not start")
        return {"result": Part([(40, 50, 60, 90_000)])}, Part([800.0])

    with pytest.raises(MissedError):
        main([], bench)
    told = capsys.readouterr().out
    assert "sqlite, 100,000 runs" in told
    assert "| 40 (40) | 50 (50) | 60 (60) | 90 |" in told
    assert "Viewer, 256^3: 800 ms" in told
