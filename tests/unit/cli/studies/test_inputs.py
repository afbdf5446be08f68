"""What a path given to `med3d analyse` stands for."""

import os
from pathlib import Path

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.inputs import fingerprint, list_inputs, several_visits, short_name
from med3d_contract.spreadsheets import printable


def touch(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_bids_dataset_is_as_many_inputs_as_it_has_t1w_scans_and_never_a_flair(tmp_path):
    one = touch(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    two = touch(tmp_path / "sub-02" / "ses-1" / "anat" / "sub-02_ses-1_T1w.nii")
    touch(tmp_path / "sub-02" / "ses-1" / "anat" / "sub-02_ses-1_FLAIR.nii.gz")
    found = list_inputs([tmp_path])
    assert found.paths == (one, two)
    assert (found.datasets, found.passed_over) == ((tmp_path,), 1)
    assert list_inputs([tmp_path / "sub-02"]).paths == (two,)


def test_who_was_scanned_in_several_sessions_is_told_by_the_names(tmp_path):
    names = (
        "sub-01_ses-1_T1w.nii.gz",
        "sub-01_ses-2_T1w.nii.gz",
        "sub-02_ses-1_run-1_T1w.nii",
        "sub-02_ses-1_run-2_T1w.nii",
    )
    assert several_visits([tmp_path / name for name in names]) == {"sub-01": ["ses-1", "ses-2"]}
    assert several_visits([tmp_path / "head.nii.gz", tmp_path / "study"]) == {}


def test_a_file_and_a_study_s_folder_stand_for_themselves(tmp_path):
    study = touch(tmp_path / "study" / "series" / "1.dcm").parent.parent
    scan = touch(tmp_path / "head.nii.gz")
    found = list_inputs([study, scan])
    assert (found.paths, found.datasets) == ((study, scan), ())


def test_an_input_s_fingerprint_changes_with_its_files(tmp_path):
    file = touch(tmp_path / "study" / "1.dcm")
    before = fingerprint(tmp_path / "study")
    assert fingerprint(tmp_path / "study") == before
    os.utime(file, (1, 1))
    assert fingerprint(tmp_path / "study") != before


def test_an_input_is_named_by_its_file_without_the_ending(tmp_path):
    assert short_name(tmp_path / "head_T1w.nii.gz") == "head_T1w"
    assert short_name(tmp_path / "study") == "study"


def test_a_device_or_a_pipe_is_no_input(tmp_path):
    os.mkfifo(tmp_path / "x.nii.gz")
    for path in (tmp_path / "x.nii.gz", Path("/dev/null")):
        with pytest.raises(CommandError, match="neither a file nor a folder"):
            list_inputs([path])


def test_a_name_that_is_no_utf8_can_be_told_and_printed(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.nii"))
    path.write_bytes(b"x")
    assert len(fingerprint(path)) == 64
    assert printable(path).endswith("/\\xff.nii")
