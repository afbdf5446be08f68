"""Every process of the service notes in the audit trail that it starts and stops: docs/audit.md says so."""

from pathlib import Path

from med3d_service.processes import courier

TEXTS = {path.stem: path.read_text() for path in Path(courier.__file__).parent.glob("*.py")}


def test_each_process_notes_its_start_and_its_stop():
    loops = {name for name, text in TEXTS.items() if "\ndef run(" in text}  # the API's is its lifespan
    assert loops == {"courier", "deliverer", "fetcher", "hl7", "listener", "scheduler"}
    assert [name for name in sorted(loops) if "with audited_life(" not in TEXTS[name]] == []
