"""`med3d settings`, and what every command says of a setting that is wrong."""

import json

import pytest
from typer.testing import CliRunner

from med3d_cli.main import make_app, run
from med3d_contract.variables import SETTINGS, unknown_variables
from med3d_service.__main__ import main as run_process
from med3d_service.settings import Settings
from med3d_worker.settings import WorkerSettings


def called(monkeypatch, *words, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(make_app(), ["settings", "--json", *words])
    return {row["variable"]: row for row in json.loads(done.stdout)}, done.exception


def test_each_setting_is_shown_with_where_it_is_from_and_no_secret_is(monkeypatch, tmp_path):
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    shown, error = called(monkeypatch, MED3D_PORT="9000", MED3D_SITE_KEY_FILE=str(key), MED3D_WORKER_KEY="m3d_x_secret")
    assert error is None
    assert (shown["MED3D_PORT"]["value"], shown["MED3D_PORT"]["from"]) == ("9000", "environment")
    assert (shown["MED3D_SITE_KEY"]["value"], shown["MED3D_SITE_KEY"]["from"]) == (str(key), "file")
    assert (shown["MED3D_HOST"]["value"], shown["MED3D_HOST"]["from"]) == ("127.0.0.1", "default")
    assert shown["MED3D_STORE_URL"]["read_by"] == ["service", "worker"]
    assert "m3d_x_secret" not in json.dumps(shown)
    assert set(called(monkeypatch, "--changed")[0]) == {"MED3D_PORT", "MED3D_SITE_KEY", "MED3D_WORKER_KEY"}


def test_a_file_that_is_not_there_is_named(monkeypatch):
    _, error = called(monkeypatch, MED3D_SITE_KEY_FILE="/nowhere/key")
    assert str(error).startswith("/nowhere/key cannot be read")


def test_a_name_that_is_none_is_told_with_the_nearest_that_is(monkeypatch):
    _, error = called(monkeypatch, MED3D_SESION_IDLE_S="60")
    assert str(error) == "MED3D_SESION_IDLE_S is no setting; did you mean MED3D_SESSION_IDLE_S?"


@pytest.mark.parametrize(
    "words",
    [
        ["settings"],
        ["ledger"],
        ["serve"],
        ["worker"],
        ["analyse", "."],
        ["submit", "."],
        ["bids", ".", "out", "participant"],
    ],
)
def test_every_command_refuses_a_name_that_is_none(monkeypatch, capsys, tmp_path, words):
    monkeypatch.setenv("MED3D_RETAIN_INPUTS_DAYS", "30")
    monkeypatch.setenv("MED3D_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["med3d", *words])
    with pytest.raises(SystemExit) as stopped:
        run()
    wanted = "error: MED3D_RETAIN_INPUTS_DAYS is no setting; did you mean MED3D_RETAIN_INPUT_DAYS?"
    assert (stopped.value.code, capsys.readouterr().err.splitlines()) == (1, [wanted])


def test_help_is_given_in_any_environment(monkeypatch, capsys):
    monkeypatch.setenv("MED3D_RETAIN_INPUTS_DAYS", "30")
    monkeypatch.setattr("sys.argv", ["med3d", "analyse", "--help"])
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 0


def test_a_process_of_the_service_refuses_it_before_it_starts(monkeypatch, capsys):
    monkeypatch.setenv("MED3D_QUIETS_S", "30")
    monkeypatch.setattr("sys.argv", ["med3d_service", "scheduler"])
    assert run_process() == 1
    assert capsys.readouterr().err == "error: MED3D_QUIETS_S is no setting; did you mean MED3D_QUIET_S?\n"


def test_the_known_names_are_those_of_the_settings():
    assert {name.upper() for name in {*Settings.model_fields, *WorkerSettings.model_fields}} == SETTINGS


def test_what_others_set_is_not_refused():
    linked = {"MED3D_API_SERVICE_HOST", "MED3D_API_SERVICE_PORT_HTTP", "MED3D_API_PORT", "MED3D_API_PORT_8000_TCP_ADDR"}
    assert [*unknown_variables({*linked, "MED3D_TEST_DATA", "MED3D_REDIS_IMAGE", "MED3D_SITE_KEY_FILE", "PATH"})] == []
    assert len([*unknown_variables({"MED3D_API_PORT"})]) == 1, "without its Service it is a name that is none"


@pytest.mark.parametrize("words", [["settings"], ["ledger"], ["keys", "list"]])
def test_a_wrong_value_is_one_line_with_variable_and_value_in_every_command(monkeypatch, capsys, tmp_path, words):
    monkeypatch.setenv("MED3D_PORT", "eight")
    monkeypatch.setenv("MED3D_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["med3d", *words])
    with pytest.raises(SystemExit) as stopped:
        run()
    said = capsys.readouterr().err.splitlines()
    assert (stopped.value.code, len(said)) == (1, 1)
    assert said[0].startswith("error: MED3D_PORT=eight: ")
