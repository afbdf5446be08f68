"""The descriptors for other hosts of containers name the command's own options, levels, exit statuses and version."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.main import get_command

from med3d_cli.main import make_app

ROOT = Path(__file__).parents[3]
HOSTS = ROOT / "deploy" / "hosts"
SCHEMAS = ROOT / "tests" / "rig" / "schemas"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BOUTIQUES = json.loads((HOSTS / "boutiques.json").read_text())


def options(command):
    parameters = get_command(make_app()).commands[command].params
    return {name for one in parameters for name in one.opts if name.startswith("--")} - {"--help"}


def test_the_boutiques_descriptor_follows_its_schema_and_nipoppy_has_the_same():
    schema = json.loads((SCHEMAS / "boutiques-0.5.json").read_text())
    jsonschema.Draft4Validator(schema).validate(BOUTIQUES)
    assert json.loads((HOSTS / "nipoppy" / "descriptor.json").read_text()) == BOUTIQUES


def test_the_boutiques_descriptor_has_every_option_of_the_bids_app():
    assert {one["command-line-flag"] for one in BOUTIQUES["inputs"] if "command-line-flag" in one} == options("bids")
    keys = {one["value-key"] for one in BOUTIQUES["inputs"]}
    assert set(BOUTIQUES["command-line"].split()[2:]) == keys
    assert {one["code"] for one in BOUTIQUES["error-codes"]} == {1, 2, 3, 4}


def test_the_nipoppy_invocation_gives_what_the_descriptor_asks_for():
    invocation = json.loads((HOSTS / "nipoppy" / "invocation.json").read_text())
    known = {one["id"]: one for one in BOUTIQUES["inputs"]}
    assert invocation.keys() <= known.keys()
    assert {name for name, one in known.items() if not one.get("optional")} <= invocation.keys()
    config = json.loads((HOSTS / "nipoppy" / "config.json").read_text())
    assert config["SCHEMA_VERSION"] == "1"
    for step in config["STEPS"]:
        tracker = json.loads((HOSTS / "nipoppy" / step["TRACKER_CONFIG_FILE"]).read_text())
        assert tracker["SCHEMA_VERSION"] == "1", "nipoppy 0.4.8 takes none without"
        for file in ("DESCRIPTOR_FILE", "INVOCATION_FILE", "TRACKER_CONFIG_FILE"):
            assert (HOSTS / "nipoppy" / step[file]).is_file()


def test_the_xnat_command_uses_options_that_there_are():
    command = json.loads((HOSTS / "xnat-command.json").read_text())
    flags = {word for word in command["command-line"].split() if word.startswith("--")}
    flags |= {one["command-line-flag"] for one in command["inputs"]}
    assert flags <= options("analyse")
    mounts = {one["name"] for one in command["mounts"]}
    assert {one["mount"] for one in command["outputs"]} <= mounts
    assert {one["provides-files-for-command-mount"] for one in command["xnat"][0]["external-inputs"]} <= mounts


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("boutiques.json", lambda said: (said["tool-version"], said["container-image"]["image"].split(":")[1])),
        ("nipoppy/config.json", lambda said: (said["VERSION"], said["CONTAINER_INFO"]["URI"].split(":")[2])),
        ("xnat-command.json", lambda said: (said["version"], said["image"].split(":")[1])),
        ("monai-app.yaml", lambda said: (str(said["application"]["version"]), VERSION)),
        ("../../CITATION.cff", lambda said: (said["version"], VERSION)),
        ("../../.zenodo.json", lambda said: (said["version"], VERSION)),
    ],
)
def test_each_names_this_version(name, found):
    assert found(yaml.safe_load((HOSTS / name).read_text())) == (VERSION, VERSION)
