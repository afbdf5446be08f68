import re
from pathlib import Path

from med3d_pipeline.calibration.refusals import CalibrationCode

DOCUMENT = Path(__file__).parents[3] / "docs" / "calibration.md"
PIPELINE = Path(__file__).parents[3] / "worker" / "med3d_pipeline"


def test_every_code_is_documented_and_every_documented_one_exists():
    documented = re.findall(r"^\| `(calibration_\w+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(CalibrationCode)


def test_every_code_is_used():
    text = "".join(path.read_text(encoding="utf-8") for path in PIPELINE.rglob("*.py"))
    assert [code for code in CalibrationCode if f"CalibrationCode.{code.name}" not in text] == []
