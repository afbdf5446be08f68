"""What compose starts is there to be started, with settings that are taken."""

from pathlib import Path

import yaml

from med3d_service.__main__ import PROCESSES
from med3d_service.settings import Settings

COMPOSE = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
STARTED = {
    name: one["command"][3]
    for name, one in COMPOSE["services"].items()
    if one.get("command", [])[1:3] == ["-m", "med3d_service"]
}


def test_each_process_of_the_service_is_one_that_it_has():
    assert {"listener", "hl7", "fetcher", "deliverer"} <= set(STARTED)
    assert set(STARTED.values()) <= set(PROCESSES)


def test_the_port_of_hl7_messages_is_the_one_that_is_published_and_nobody_may_send_by_default(monkeypatch):
    one = COMPOSE["services"]["hl7"]
    assert one["profiles"] == ["hl7"]
    for name in ("MED3D_HL7_HOST", "MED3D_HL7_PORT"):
        monkeypatch.setenv(name, one["environment"][name])
    settings = Settings(hl7_allowed=())
    assert one["ports"] == [f"{settings.hl7_port}:{settings.hl7_port}"]
    assert one["environment"]["MED3D_HL7_ALLOWED"] == "${MED3D_HL7_ALLOWED:-}"
