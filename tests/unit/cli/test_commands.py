"""The command line as its user meets it: help, usage, one clear line for what went wrong."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.main import make_app
from med3d_contract.results import RunStatus

COMMANDS = ("serve", "submit", "runs", "show", "analyse", "worker", "bundle", "demo", "requeue", "ledger")


def invoke(*arguments):
    return CliRunner().invoke(make_app(), list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    answer = invoke(command, "--help")
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_a_missing_package_becomes_the_name_of_its_extra():
    with pytest.raises(CommandError, match=r"pip install '\.\[worker\]' in a checkout"), extra("worker"):
        import no_such_package  # noqa: F401


def test_a_missing_module_of_our_own_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError), extra("worker"):
        import med3d_pipeline.no_such_module  # noqa: F401


def test_two_onnx_runtime_wheels_are_named_with_the_way_out():
    with pytest.raises(CommandError, match="pip uninstall"):
        require_onnx_runtime(("onnxruntime", "onnxruntime-openvino"))


def test_no_onnx_runtime_names_the_extra():
    with pytest.raises(CommandError, match=r"pip install '\.\[worker\]'"):
        require_onnx_runtime(())


@pytest.mark.parametrize("option", ["--html", "--keep", "--explain"])
def test_analyse_says_that_a_folder_cannot_be_written_before_it_opens_a_model(tmp_path, option):
    (tmp_path / "file").touch()
    answer = invoke("analyse", str(tmp_path), option, str(tmp_path / "file" / "out"), "--bundle", str(tmp_path))
    assert "cannot be written to: Not a directory" in str(answer.exception)
    assert answer.exception.exit_code == 1  # as of a table that cannot be written


def test_analyse_refuses_two_formats_at_once(tmp_path):
    answer = invoke("analyse", str(tmp_path), "--json", "--csv", str(tmp_path / "out.csv"))
    assert isinstance(answer.exception, CommandError)
    assert answer.exception.exit_code == 2


@pytest.mark.parametrize("age", ["-1", "121", "old"])
def test_an_impossible_age_is_a_usage_error(tmp_path, age):
    assert invoke("analyse", str(tmp_path), "--age", age).exit_code == 2


def test_a_path_that_does_not_exist_is_a_usage_error():
    answer = invoke("analyse", "/no/such/study")
    assert answer.exit_code == 2
    assert "does not exist" in answer.output


@pytest.mark.parametrize(
    "words",
    [
        ("analyse", ""), ("analyse", __file__, ""), ("analyse", __file__, "--csv", ""), ("analyse", __file__, "--csv="),
        ("analyse", __file__, "--series", ""), ("submit", ""), ("bids", "", "out", "participant"),
        ("bids", ".", "", "group"), ("bundle", "verify", ""), ("figure", __file__, ""), ("backup", ""), ("watch", ""),
        ("cohort", "import", ""), ("keys", "list", "--data-dir", ""),
    ],
)  # fmt: skip
def test_an_empty_word_is_no_path_to_the_folder_we_are_in(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = invoke(*words)
    assert (answer.exit_code, "it is empty, as where a variable is not set" in answer.output) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_title_may_be_empty(tmp_path):
    answer = invoke("figure", __file__, str(tmp_path / "a.png"), "--title", "")
    assert "it is no table of answers" in str(answer.exception)


def test_exit_codes_tell_refused_from_failed():
    from collections import Counter

    from med3d_cli.studies.analyse import exit_code

    assert exit_code(Counter({RunStatus.COMPLETED: 3})) == 0
    assert exit_code(Counter({RunStatus.COMPLETED: 3, RunStatus.REFUSED: 1})) == 3
    assert exit_code(Counter({RunStatus.REFUSED: 1, RunStatus.FAILED: 1})) == 4


def test_ids_are_shortened_to_what_still_tells_them_apart():
    from med3d_cli.studies.commands import short_ids

    assert short_ids(["0a1b2c3d-1", "0a1b2c3d-2"]) == {"0a1b2c3d-1": "0a1b2c3d-1", "0a1b2c3d-2": "0a1b2c3d-2"}
    assert list(short_ids(["0a1b2c3d-1", "ffffffff-2"]).values()) == ["0a1b2c3d", "ffffffff"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--resume",), "name them by --csv or --html"),
        (("--age", "40", "--ages", __file__), "choose one of --age, for all inputs, and --ages"),
        (("--keep", str(Path(__file__).parent)), "holds files already, and none is replaced"),
    ],
)
def test_analyse_says_what_does_not_go_together(tmp_path, options, said):
    answer = invoke("analyse", str(tmp_path), *options)
    assert isinstance(answer.exception, CommandError)
    assert (answer.exception.exit_code, said in str(answer.exception)) == (2, True)
