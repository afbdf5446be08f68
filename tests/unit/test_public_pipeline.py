"""The pipeline as a library: its public names, and the page that uses them."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import med3d_pipeline
from rig.science import heads

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


@pytest.mark.parametrize("name", med3d_pipeline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(med3d_pipeline, name).__module__.startswith("med3d_pipeline.")


@pytest.mark.parametrize("age", [430, -1, float("nan")])
def test_an_age_that_nobody_has_is_told_before_anything_is_read(age: float) -> None:
    with pytest.raises(ValueError, match="an age is 0 to 120 years, not"):
        med3d_pipeline.analyse("/nowhere", age_years=age)


@pytest.mark.parametrize("age", ["43", True, [43.0]])
def test_an_age_that_is_no_number_is_told_before_anything_is_read(age: Any) -> None:
    with pytest.raises(TypeError, match="an age is a number of years, not"):
        med3d_pipeline.analyse("/nowhere", age_years=age)


def test_numbers_of_numpy_are_ages_and_leave_no_types_of_theirs() -> None:
    subject = med3d_pipeline.SubjectAttributes(np.float32(43))
    assert (subject.age_years, type(subject.age_years)) == (43.0, float)


def test_an_empty_path_is_not_the_folder_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (med3d_pipeline.analyse, med3d_pipeline.read_study, med3d_pipeline.Bundle.open):
        with pytest.raises(ValueError, match="a path is empty, as where a variable is not set"):
            call("")
    with pytest.raises(ValueError, match="a path is empty"):
        med3d_pipeline.read_study([""])


def test_a_study_is_one_path_or_several_as_text_or_as_path(tmp_path: Path) -> None:
    scan = tmp_path / "head.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((20, 20, 20), np.int16), np.eye(4)), scan)
    for given in (scan, str(scan), [str(scan)], (path for path in [scan])):
        assert len(med3d_pipeline.read_study(given).series) == 1
    with pytest.raises(TypeError, match="a path is a text or a Path, not bytes"):
        med3d_pipeline.read_study([bytes(scan)])


def test_an_affine_for_rows_of_points_and_complex_voxels_are_no_volume() -> None:
    affine = np.eye(4)
    affine[:3, 3] = -90
    with pytest.raises(ValueError, match="is to be transposed"):
        med3d_pipeline.Volume(np.ones((4, 4, 4), np.float32), affine.T)
    with pytest.raises(ValueError, match="of complex ones take the magnitude"):
        med3d_pipeline.Volume(np.ones((4, 4, 4), np.complex64), affine)


def test_another_name_is_an_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = med3d_pipeline.no_such_name


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("dicom_plane", "SequenceFacts"),
        ("mr_contrast", "judge_contrast"),
        ("series_identity", "sequence_identity"),
        ("series_identity", "image_fault"),
    ],
)
def test_scripts_written_for_0_2_0_find_how_headers_are_judged(module: str, name: str) -> None:
    assert getattr(import_module(f"med3d_pipeline.{module}"), name).__module__ == f"med3d_pipeline.reading.{module}"


def test_reading_loads_no_network_runtime() -> None:
    script = "import sys; from med3d_pipeline import read_study; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_page_s_lines_do_what_it_says(tmp_path: Path) -> None:
    head = heads.averaged_by_two(heads.average_head())
    scan = tmp_path / "head.nii.gz"
    nib.save(nib.Nifti1Image(np.round(head.voxels).astype(np.int16), head.affine), scan)
    found = doctest.testfile(str(PAGE), module_relative=False, globs={"scan": scan})
    assert found.attempted >= 8
    assert found.failed == 0
