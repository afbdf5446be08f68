import ast
import re
from pathlib import Path

import pytest

import med3d_pipeline
from med3d_pipeline.reading.refusals import (
    ALLOWED_BY_HAND,
    READING_CODES,
    Fault,
    first_fault,
    is_damage,
    passed_contrast,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "refusals.md"


def documented_codes(section: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def raised_codes(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        for argument in call.args[:2]
        if call.func.id in {"InputRefused", "Fault", "_unusable"}
        and isinstance(argument, ast.Constant)
        and re.fullmatch(r"[a-z0-9_]+", str(argument.value))
    }


def test_the_documented_order_is_the_one_in_the_code():
    assert documented_codes("Reading") == list(READING_CODES)


def test_every_documented_code_has_a_cause_a_remedy_and_an_example():
    heads = ["code", "what is wrong", "example"]
    rows = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if "|" in line]
    for cells in rows:
        if cells[0] == "code":
            heads = cells
            assert heads[-1] == "example"
        elif cells[0].startswith("`"):
            assert len(cells) == len(heads), cells
            assert all(cell.strip() for cell in cells), cells


def test_every_code_that_reading_raises_is_documented_and_every_documented_one_is_raised():
    rooms = (Path(med3d_pipeline.__file__).parent / room for room in ("reading", "study"))
    modules = [module for room in rooms for module in room.rglob("*.py")]
    assert set().union(*map(raised_codes, modules)) == set(READING_CODES)


def test_the_first_code_in_the_order_wins_within_a_series():
    faults = [Fault("gantry_tilt", "c."), Fault("not_mr", "a."), Fault("missing_slices", "b.")]
    winner = first_fault(faults)
    assert winner is not None
    assert winner.code == "not_mr"
    assert first_fault([]) is None


def test_what_may_be_overruled_by_hand_is_documented():
    text = DOCUMENT.read_text(encoding="utf-8").split("That overrules what the headers say:")[1].split(";")[0]
    assert set(re.findall(r"`(\w+)`", text)) == ALLOWED_BY_HAND


def test_only_judgements_may_be_overruled_by_hand():
    assert set(READING_CODES) >= ALLOWED_BY_HAND
    assert not any(is_damage(code) for code in ALLOWED_BY_HAND)


@pytest.mark.parametrize(
    ("code", "passed", "damage"),
    [
        ("not_mr", False, False),
        ("no_t1w_series", False, False),
        ("derived_only", True, False),
        ("truncated_pixel_data", True, True),
        ("gantry_tilt", True, True),
        ("through_plane_too_coarse", True, False),
    ],
)
def test_the_order_tells_contrast_from_damage(code, passed, damage):
    assert (passed_contrast(code), is_damage(code)) == (passed, damage)
