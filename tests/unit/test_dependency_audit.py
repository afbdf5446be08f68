"""An audit that could not be made must not read as one that found nothing."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy" / "audit_dependencies.py"
spec = importlib.util.spec_from_file_location("audit_dependencies", SCRIPT)
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)

SOUND = {"name": "a", "version": "1", "vulns": []}
HIT = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "version": "4", "skip_reason": "not found"}


def test_advisories_are_named_and_fail(capsys):
    assert audit.report([SOUND, HIT, SKIPPED]) == 1
    said = capsys.readouterr().out
    assert "b 2: PYSEC-1, fixed in 3" in said
    assert "2 of 3 packages audited, 1 with advisories" in said


def test_nothing_asked_is_said_and_is_no_failure(capsys):
    assert audit.report([SKIPPED, SKIPPED]) == 0
    assert "NOT AUDITED" in capsys.readouterr().out


def test_all_sound_says_how_many(capsys):
    assert audit.report([SOUND, SKIPPED]) == 0
    assert "1 of 2 packages audited, 0 with advisories" in capsys.readouterr().out
