from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError

from med3d_service.cohorts.kept_pages.sheets import drawn, render_sheet

WHOLE = {
    "title": "Calibration for Ward <3> & co", "changes": (("bias", "1", "2"),), "cautions": ["a < b"], "prospects": (),
    "charts": [drawn("<svg></svg>", "before & after")], "half_width": "", "left_out": (("<code>", "1", "2"),),
}  # fmt: skip


MADE = SimpleNamespace(
    heads=24, age_range_years=(20.0, 60.4), created="2026-01-01", expires="2027-01-01",
    scanner=SimpleNamespace(in_words=lambda: "<Prisma>"), bundle=SimpleNamespace(name="b", version="1", digest="d" * 64),
)  # fmt: skip


def page(**values):
    return render_sheet("calibration.html", package="med3d_cli.calibration", **values)


def test_what_a_sheet_is_given_is_escaped_and_a_chart_stands_as_it_was_drawn():
    made = page(**WHOLE, made=MADE)
    assert made.startswith("<!doctype html>\n")
    assert made.count("Calibration for Ward &lt;3&gt; &amp; co") == 2
    for escaped in ("a &lt; b", "&lt;Prisma&gt;", "&lt;code&gt;", "before &amp; after", "20 to 60 years"):
        assert escaped in made
    assert "<figure><svg></svg>" in made


def test_a_value_that_a_sheet_lacks_is_an_error_and_no_gap():
    with pytest.raises(UndefinedError, match="made"):
        page(**WHOLE)
