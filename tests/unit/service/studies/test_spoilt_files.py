"""A short, seeded part of `make fuzz`: spoilt real files are turned away by a code, and leave nothing behind."""

import warnings

import pytest

from fuzz.inlets import INLETS
from fuzz.mutations import sources, spoil
from fuzz.run import SEEDS

pytestmark = pytest.mark.realdata
KEPT = [int(line.split()[0]) for line in SEEDS.read_text().splitlines() if line[:1].isdigit()]


@pytest.fixture(scope="module")
def files(test_data):
    return sources(test_data)


def test_the_same_number_is_the_same_input(files):
    assert spoil(files, 7) == spoil(files, 7)
    assert spoil(files, 7) != spoil(files, 8)


@pytest.mark.parametrize("first", [0, 5_000_000, 5_000_050, 5_000_100])
def test_spoilt_files_are_turned_away_by_a_code_at_every_inlet(files, tmp_path, first):
    warnings.simplefilter("ignore")
    for number in KEPT if first == 0 else range(first, first + 50):
        spoilt = spoil(files, number)
        for inlet in INLETS:
            assert inlet(spoilt.data, tmp_path), (number, spoilt.source, spoilt.done)
            assert list(tmp_path.iterdir()) == [], (number, inlet)
