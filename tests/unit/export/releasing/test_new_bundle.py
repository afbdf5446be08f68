"""A bundle that could not be made to its end leaves nothing that could be mistaken for one."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from med3d_export.explaining.adding import copy_with_regions
from med3d_export.explaining.atlas import LabelMapError
from med3d_export.main import app, run
from med3d_export.releasing.new_bundle import ReleaseError, new_bundle
from med3d_export.releasing.renewal import renew_bundle
from med3d_export.subjects.cohort import Cohort, CohortSubject
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import BundleError

RECIPE = Path(__file__).parents[4] / "model_export" / "configs" / "phantom-smoke.toml"


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("there", [False, True])
def test_what_was_written_is_taken_away_again(tmp_path, there):
    folder = tmp_path / "bundle"
    if there:
        folder.mkdir()

    def stopped():
        (folder / "heads").mkdir(parents=True)
        (folder / "heads" / "brain_age.onnx").touch()
        raise StoppedError

    with pytest.raises(StoppedError), new_bundle(folder):
        stopped()
    assert folder.exists() == there
    assert not list(tmp_path.rglob("*.onnx"))


def test_what_lies_there_already_is_left_alone(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(ReleaseError, match="is not empty"), new_bundle(tmp_path):
        pytest.fail("nothing is made in it")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_copy_that_gets_no_regions_is_no_bundle_of_the_new_version(tmp_path):
    (maps := tmp_path / "maps").mkdir()
    people = Cohort((CohortSubject(2, "nobody", 40.0, "F", "A", tmp_path / "head.nii"),))
    with pytest.raises(LabelMapError, match="no participant"):
        copy_with_regions(
            Bundle.default_path(), "9.9", tmp_path / "new", people, np.zeros((1, 64, 64, 64), np.float32), maps,
            lambda: None,
        )  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_a_bundle_whose_renewal_fails_is_not_left_half_copied(tmp_path, monkeypatch):
    def fail(_draft: Bundle) -> None:
        raise BundleError("The reference case fails.")

    monkeypatch.setattr("med3d_export.releasing.renewal.write_reference_case", fail)
    with pytest.raises(BundleError, match="reference case"):
        renew_bundle(Bundle.default_path(), "9.9", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_release_into_what_is_not_empty_is_refused_before_anything_is_evaluated(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    given = ["release", "--config", str(RECIPE), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, ReleaseError)
    assert not (tmp_path / "run").exists()


def test_a_file_where_a_folder_should_be_is_named_without_a_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path / "run").touch()
    given = ["train", "--config", str(RECIPE), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["med3d-export", *given])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert f"med3d-export: {tmp_path / 'run'}: File exists" in capsys.readouterr().err
