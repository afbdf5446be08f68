"""`med3d settings`, and what every command says of a setting that is wrong."""

import json

import pytest
from typer.testing import CliRunner

from med3d_cli.main import make_app, run
from med3d_contract.variables.names import SETTINGS, unknown_variables
from med3d_contract.variables.values import PROVIDERS
from med3d_pipeline.runtime.onnx_sessions import PROVIDER_KEYS
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


WRONG = [
    ("MED3D_ALLOW_DEMONSTRATION_HEADS", "maybe", "valid boolean"),
    ("MED3D_CHILDREN", "0", "greater than or equal to 1"),
    ("MED3D_PROVIDER", "cudaa", "'cudaa' is none of auto, tensorrt, cuda, openvino, cpu"),
    ("MED3D_QUEUES", "predict,publsh", "'publsh' is none of publish, predict, preprocess"),
    ("MED3D_GPU_DEVICES", "0,a", "'a' is no number of a GPU"),
    ("MED3D_STORE_URL", "/srv/store", "a store is file:///folder or s3://bucket/prefix"),
    ("MED3D_TRUSTED_PROXIES", "10.0.0.0/8,proxy", "'proxy' is no address"),
    ("MED3D_DICOM_PORT", "99999", "less than or equal to 65535"),
    ("MED3D_LEDGER_EVERY_S", "-1", "greater than or equal to 0"),
    ("MED3D_AUDIT_SYSLOG_URL", "logs.example.org:514", "a receiver is udp://"),
    ("MED3D_RULES_FILE", "/nowhere/rules.toml", "there is no such file or folder"),
    ("MED3D_BUNDLE", "/nowhere", "there is no such file or folder"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_a_value_that_service_or_worker_would_not_take_is_named_with_what_is_allowed(monkeypatch, name, value, allowed):
    _, error = called(monkeypatch, **{name: value})
    assert str(error).startswith(f"{name}={value}: ")
    assert allowed in str(error)


@pytest.mark.parametrize(
    ("name", "allowed"), [("MED3D_BROKER_URL", "rediss://"), ("MED3D_DATABASE_URL", "postgresql://")]
)
def test_a_url_that_may_hold_a_password_is_named_and_not_shown(monkeypatch, name, allowed):
    _, error = called(monkeypatch, **{name: "mysql://u:hidden@h/d"})
    assert str(error).startswith(f"{name}: ")
    assert allowed in str(error)
    assert "hidden" not in str(error)


def test_a_site_key_that_is_none_is_named_and_not_shown(monkeypatch):
    _, error = called(monkeypatch, MED3D_SITE_KEY="secret")
    assert str(error).startswith("MED3D_SITE_KEY: the site key must begin with 64 hex digits")


def test_each_of_several_wrong_values_is_told_once(monkeypatch):
    _, error = called(monkeypatch, MED3D_STORE_URL="bar", MED3D_CHILDREN="0", MED3D_DICOM_ALLOWED="a")
    assert [said.partition("=")[0] for said in str(error).split("; ")] == ["MED3D_STORE_URL", "MED3D_CHILDREN"]
    _, error = called(monkeypatch, MED3D_STORE_URL="file:///x", MED3D_CHILDREN="1")
    assert "MED3D_DICOM_ALLOWED: 'a'" in str(error)


def test_variables_of_settings_that_go_together_are_named_as_they_are_written(monkeypatch):
    _, error = called(monkeypatch, MED3D_TLS_CERT="/etc/ssl/certs")
    assert str(error) == "MED3D_TLS_CERT and MED3D_TLS_KEY go together: set both or neither"


def test_the_providers_that_may_be_set_are_those_that_there_are():
    assert set(PROVIDERS) == {"auto", *PROVIDER_KEYS}


@pytest.mark.parametrize("process", ["api", "scheduler", "courier", "migrate"])
def test_a_process_of_the_service_tells_a_wrong_value_in_one_line(monkeypatch, capsys, process):
    monkeypatch.setenv("MED3D_SWEEP_S", "soon")
    monkeypatch.setattr("sys.argv", ["med3d_service", process])
    assert run_process() == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: MED3D_SWEEP_S=soon: ")


def test_serve_refuses_a_value_before_it_makes_anything(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MED3D_RETAIN_INPUT_DAYS", "-3")
    monkeypatch.setattr("sys.argv", ["med3d", "serve", "--data-dir", str(tmp_path / "made")])
    with pytest.raises(SystemExit) as stopped:
        run()
    assert (stopped.value.code, [*tmp_path.iterdir()]) == (1, [])
    assert capsys.readouterr().err.startswith("error: MED3D_RETAIN_INPUT_DAYS=-3: Input should be greater than 0")
