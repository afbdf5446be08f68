"""What `med3d analyse` says beside its answers."""

import io

import pytest
from rich.console import Console

from med3d_cli.studies.analyse import tell_of_several
from med3d_contract.results import Refusal, RunStatus
from med3d_worker.analysis import AnalysedInput


def said_of(path, code):
    stderr = Console(file=io.StringIO())
    refusal = Refusal(code=code, reason="Why.")
    tell_of_several([AnalysedInput(input=str(path), status=RunStatus.REFUSED, refusal=refusal)], stderr)
    return stderr.file.getvalue()


@pytest.mark.parametrize("code", ["several_images", "several_patients"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_folder_of_several_images_is_told_how_they_become_inputs(tmp_path, code, ending):
    folder = tmp_path / "all heads"
    folder.mkdir()
    (folder / f"a{ending}").touch()
    assert f"name them one by one: med3d analyse '{folder}'/*{ending}" in said_of(folder, code).replace("\n", "")


@pytest.mark.parametrize("code", ["several_images", "not_mr"])
def test_nothing_is_told_of_what_holds_no_image_by_name(tmp_path, code):
    (tmp_path / "slice.dcm").touch()
    assert said_of(tmp_path, code) == ""
