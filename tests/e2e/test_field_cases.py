"""A part of `make field` that needs no data: one picture of each kind, and the answer that it must have."""

import pytest

from field.case import Room
from field.own import own_cases
from field.run import run

pytestmark = pytest.mark.timeout(600)

GUARDED = frozenset(
    f"own:{name}"
    for name in (
        "nifti", "brighter", "offset", "front_to_back", "top_to_bottom", "without_contrast", "inverted", "dicom",
        "tomography", "two_acquisitions",
    )
)  # fmt: skip


def test_pictures_from_the_field_get_a_right_answer():
    cases = [case for case in own_cases() if case.name in GUARDED]
    assert len(cases) == len(GUARDED)
    rows = run(cases, Room(data=None, scripts=None, head=None), processes=2)
    assert [f"{row.name}: wanted {row.wanted}, got {row.got}" for row in rows if not row.right] == []
