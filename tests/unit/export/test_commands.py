"""The command line: what is wrong is one message and exit code 2, never a traceback."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from med3d_export.main import KNOWN_FAULTS, app, run
from med3d_export.training_run import RunBusy, work_alone

RECIPE = Path(__file__).parents[3] / "model_export" / "configs" / "phantom-smoke.toml"


@pytest.mark.parametrize("command", ["prepare", "train", "evaluate", "compare", "shifts", "release", "learning-curve"])
def test_a_folder_without_a_cohort_is_a_known_fault_of_every_command(command, tmp_path):
    given = [command, "--config", str(RECIPE), "--data", str(tmp_path), "--cache", str(tmp_path / "cache")]
    if command != "prepare":
        given += ["--run", str(tmp_path / "run")]
    if command == "shifts":
        given += ["--study", str(tmp_path)]
    if command == "learning-curve":
        given += ["--out", str(tmp_path / "page"), "--training-heads", "20"]
    if command == "release":
        given += ["--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(app, given)
    assert isinstance(result.exception, KNOWN_FAULTS), result.output
    assert "participants.csv" in str(result.exception) or "comparison" in str(result.exception)


def test_a_recipe_with_an_unknown_field_names_it(tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(RECIPE.read_text() + "\n[evaluation.more]\nfold = 3\n")
    result = CliRunner().invoke(app, ["prepare", "--config", str(wrong), "--data", str(tmp_path)])
    assert isinstance(result.exception, KNOWN_FAULTS)
    assert "evaluation.more" in str(result.exception)


def test_promoting_what_is_no_bundle_is_a_known_fault_and_replaces_nothing(tmp_path):
    for name in ("new", "old", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "mark").touch()
    given = ["promote", "--candidate", str(tmp_path / "new"), "--in-place", str(tmp_path / "old"),
             "--data", str(tmp_path / "data"), "--report", str(tmp_path / "report")]  # fmt: skip
    result = CliRunner().invoke(app, given)
    assert isinstance(result.exception, KNOWN_FAULTS)
    assert (tmp_path / "old" / "mark").is_file()


@pytest.mark.parametrize("command", ["train", "fit-ages", "evaluate", "compare", "shifts", "release", "learning-curve"])
def test_two_commands_do_not_work_in_one_run(command, tmp_path):
    run = tmp_path / "run"
    given = [command, "--config", str(RECIPE), "--data", str(tmp_path), "--run", str(run)]
    given += {
        "shifts": ["--study", str(tmp_path)],
        "learning-curve": ["--out", str(tmp_path / "page"), "--training-heads", "20"],
        "release": ["--out", str(tmp_path / "bundle")],
    }.get(command, [])
    with work_alone(run):
        refused = CliRunner().invoke(app, given)
    assert isinstance(refused.exception, RunBusy), refused.output
    assert isinstance(refused.exception, KNOWN_FAULTS)
    assert not isinstance(CliRunner().invoke(app, given).exception, RunBusy)


def test_the_bundle_to_replace_may_be_the_folder_that_one_is_in(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = ["promote", "--candidate", ".", "--in-place", ".", "--data", ".", "--report", "report", "--only-compare"]
    refused = CliRunner().invoke(app, given)
    assert isinstance(refused.exception, KNOWN_FAULTS), refused.exception


@pytest.mark.parametrize("words", [["--released", "", "--version", "1", "--out", "new"],
                                   ["--released", ".", "--version", "", "--out", "new"],
                                   ["--released", ".", "--version", "1", "--out="]])  # fmt: skip
def test_a_variable_that_is_not_set_is_no_folder_and_no_version(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["med3d-export", "renew", *words])
    with pytest.raises(SystemExit, match="2"):
        run()
    assert "it is empty, as where a variable is not set" in " ".join(capsys.readouterr().err.split()).replace("│ ", "")
    assert not any(tmp_path.iterdir())
