"""A series chosen by hand reaches the worker in words that the working copy knows."""

import pytest

from med3d_service.studies.series_by_hand import series_by_hand
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms

KEY = b"k" * 32
UID = "1.3.12.2.1107.5.2.32.35113.20130717"


def test_a_uid_becomes_the_stand_in_that_the_working_copy_has():
    assert series_by_hand(f" {UID} ", KEY) == Pseudonyms(KEY).uid(UID)


@pytest.mark.parametrize("said", ["19", "019", "series 19", "Series  19"])
def test_a_number_is_one_wish_however_it_is_written(said):
    assert series_by_hand(said, KEY) == "series 19"


def test_a_label_stays_and_nothing_leaves_the_choice_to_the_service():
    label = "series 19: 3D T1w 1.00 x 1.00 x 1.00 mm, 176 slices"
    assert series_by_hand(label, KEY) == label
    assert series_by_hand(None, KEY) == series_by_hand("  ", KEY) == ""
