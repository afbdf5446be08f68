"""The pipeline as a library: its public names, and the page that uses them."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

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
