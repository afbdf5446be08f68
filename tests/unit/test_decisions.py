"""The decisions in docs/decisions."""

from collections import Counter
from pathlib import Path

DECISIONS = Path(__file__).parents[2] / "docs" / "decisions"


def test_no_two_decisions_have_one_number():
    numbers = Counter(path.name[:4] for path in DECISIONS.glob("[0-9]*.md"))
    assert [number for number, count in numbers.items() if count > 1] == []


def test_a_decision_begins_with_its_own_number():
    wrong = [path.name for path in DECISIONS.glob("[0-9]*.md") if path.name[:4] not in path.read_text().split("\n")[0]]
    assert wrong == []
