import ast
import re
from pathlib import Path

import med3d_pipeline
from med3d_contract import ages
from med3d_pipeline.reasons import ReviewCode

DOCUMENT = Path(__file__).parents[3] / "docs" / "refusals.md"
PIPELINE = Path(med3d_pipeline.__file__).parent


def emitted() -> set[str]:
    """Members of ReviewCode that the pipeline makes a reason of."""
    return {
        node.attr
        for module in PIPELINE.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ReviewCode"
    }


def test_every_review_code_is_documented_and_every_documented_one_exists():
    section = DOCUMENT.read_text(encoding="utf-8").split("## Given a number, but for a person to look at\n")[1]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted([*ReviewCode, ages.DISAGREE.code, ages.UNUSABLE, ages.STATED_DIFFERS])


def test_every_review_code_is_emitted_somewhere_and_by_its_name_alone():
    assert emitted() == set(ReviewCode.__members__)
    written = {
        node.value
        for module in PIPELINE.rglob("*.py")
        if module.name != "reasons.py"
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in set(ReviewCode)
    }
    assert written == set()
