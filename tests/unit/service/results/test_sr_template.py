"""PixelMed's validator on our SRs: it says what docs/decisions/0307 argues, and nothing else."""

import re
import subprocess
from pathlib import Path

import pytest

from med3d_service.results.reports.sr import structured_report
from rig.service.facts import facts, refused_facts

JAR = Path("/usr/share/java/pixelmed.jar")
UNBOUND = [f"-Djdk.xml.xpath{one}=0" for one in ("TotalOpLimit", "ExprOpLimit", "ExprGrpLimit")]
"""Java bounds what a style sheet may hold, and the templates are more."""
ARGUED = [
    r"Template 300 .*NUM \(PI-(LOWER|UPPER|LEVEL),99MED3D,.*expected INFERRED FROM - found HAS PROPERTIES",
    r"Template 1007 .*/NUM \(BA-GAP(-CORR)?,.*NUM \(121033,DCM,.*expected HAS OBS CONTEXT - found INFERRED FROM",
    r'TEXT \(122405,DCM,"Algorithm Manufacturer"\): Content Item not in template',
    r"(CODE|TEXT) \((DECISION|REASON|USE|EVIDENCE),99MED3D,[^/]*: Content Item not in template",
]


@pytest.mark.long
@pytest.mark.parametrize("made", [facts, refused_facts], ids=["completed", "refused"])
def test_pixelmed_says_what_is_argued_and_nothing_else(tmp_path, made):
    if not JAR.exists():
        pytest.skip("no PixelMed (on Debian: apt-get install libpixelmed-java)")
    path = tmp_path / "sr.dcm"
    path.write_bytes(structured_report(made(predecessor="an-older-run")))
    command = ["java", *UNBOUND, "-cp", str(JAR), "com.pixelmed.validate.DicomSRValidator", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (said.stdout + said.stderr).splitlines()
    assert "Found Root Template TID_1500 (MeasurementReport)" in lines
    assert "IOD validation complete" in lines
    faults = [one for one in lines if one.startswith(("Error", "Warning"))]
    assert [one for one in faults if not any(re.search(argued, one) for argued in ARGUED)] == []
    assert len(faults) >= 4  # it has looked
