"""What watches the service speaks of metrics that there are, and each alert is proven in both directions."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "med3d.json"
ENDINGS = ("_total", "_bucket", "_sum", "_count")


def known_metrics():
    source = "".join(path.read_text() for path in (ROOT / "service" / "med3d_service").rglob("*.py"))
    return set(re.findall(r'"(med3d_[a-z_]+)"', source))


def named_metrics(text):
    for name in re.findall(r"\bmed3d_[a-z_]+", text):
        yield next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name)


def alerts():
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


@pytest.mark.parametrize("path", [PROMETHEUS / "alerts.yml", PROMETHEUS / "alerts.test.yml", DASHBOARD])
def test_every_metric_that_is_named_is_one_of_the_service(path):
    assert set(named_metrics(path.read_text())) - known_metrics() == set()


def test_every_alert_says_what_to_do_and_is_shown_quiet_and_loud():
    for rule in alerts().values():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert {"summary", "description"} <= rule["annotations"].keys()
    quiet, loud = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    assert {one["alertname"] for one in quiet["alert_rule_test"] if "exp_alerts" not in one} == alerts().keys()
    assert {one["alertname"] for one in loud["alert_rule_test"] if one["exp_alerts"]} == alerts().keys()


def test_the_scrape_names_the_route_and_a_key_in_a_file():
    [job] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert (job["metrics_path"], job["authorization"]["credentials_file"]) == ("/metrics", "api_key")


def test_the_dashboard_s_panels_have_titles_ids_and_places_of_their_own():
    found = panels()
    assert len({panel["id"] for panel in found}) == len({panel["title"] for panel in found}) == len(found)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in found)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.fixture
def promtool(tmp_path):
    """Prometheus' own judge, on a copy that has the key."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool (Debian: prometheus)")
    folder = shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (folder / "api_key").write_text("m3d_00000000_x")

    def judge(*arguments):
        done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return judge


def test_prometheus_takes_the_configuration_and_proves_each_alert(promtool):
    assert promtool("check", "config", "prometheus.yml")[0] == 0
    code, said = promtool("test", "rules", "alerts.test.yml")
    assert code == 0, said
