import re
from pathlib import Path

from med3d_pipeline.preprocessing.quality import QUALITY_CODES

DOCUMENT = Path(__file__).parents[3] / "docs" / "refusals.md"


def test_the_codes_of_the_quality_gate_are_documented_in_the_order_in_which_they_win():
    after_reading = DOCUMENT.read_text().split("## After reading")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)`", after_reading, flags=re.MULTILINE)
    assert documented == [*QUALITY_CODES, "out_of_distribution"]
