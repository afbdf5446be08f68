"""A part of `make field` that needs no data: one picture of each kind, and the answer that it must have."""

import pytest

from field.case import Room
from field.own_pictures import own_pictures
from field.own_series import own_series
from field.run import run

pytestmark = pytest.mark.timeout(600)

GUARDED = frozenset(
    f"own:{name}"
    for name in (
        "nifti", "offset", "front_to_back", "top_to_bottom", "top_is_zero", "without_contrast", "inverted", "moved_sform",
        "dicom", "scout", "tomography", "copies", "two_people", "noise_first", "uid_per_slice",
    )
)  # fmt: skip


def guarded():
    cases = [case for case in (*own_pictures(), *own_series()) if case.name in GUARDED]
    assert len(cases) == len(GUARDED)
    return cases


def test_pictures_from_the_field_get_a_right_answer():
    rows = run(guarded(), Room(data=None, scripts=None, head=None), processes=2)
    assert [f"{row.name}: wanted {row.wanted}, got {row.got}" for row in rows if not row.right] == []


@pytest.mark.long
def test_the_service_gives_the_answer_that_analyse_gives():
    rows = run(guarded(), Room(data=None, scripts=None, head=None), processes=2, both_ways=True)
    assert [f"{row.name}: wanted {row.wanted}, got {row.got}" for row in rows if not row.right] == []
