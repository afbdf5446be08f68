"""A folder of NIfTI files by `med3d submit`: the one named _T1w is sent, as `med3d analyse` chooses."""

from pathlib import Path

import pytest

from med3d_client.nifti_folder import image_named_t1w
from med3d_pipeline.study.nifti_names import t1w_first

T1W, FLAIR = "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_FLAIR.nii.gz"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ((T1W, FLAIR), T1W),
        ((T1W, FLAIR, "sub-01/anat/sub-01_T1w.json", "dataset_description.json"), T1W),
        ((T1W,), None),
        ((FLAIR, "sub-01/anat/sub-01_T2w.nii"), None),
        ((T1W, "sub-01/anat/sub-01_run-2_T1w.nii.gz"), None),
        ((T1W, "sub-02/anat/y.nii.gz"), None),
        ((T1W, FLAIR, "DICOM/IM0001"), None),
        (("T1w.nii.gz", "FLAIR.nii.gz"), None),
    ],
    ids=["two contrasts", "notes", "alone", "no t1w", "two t1w", "two people", "dicom beside", "no bids name"],
)
def test_only_what_the_names_tell_for_certain_is_chosen(tmp_path, names, chosen):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert image_named_t1w(tmp_path) == (None if chosen is None else tmp_path / chosen)


@pytest.mark.parametrize(
    "name",
    [
        *("sub-1_T1w.nii.gz", "sub-1_t1w.nii", "sub-1-T1w.nii.gz", "sub-1_T1w_defaced.nii.gz", "sub-1_T1w_brain.nii"),
        *("sub-1_T1w_desc-preproc.nii.gz", "sub-1_T1w_desc-brainmask.nii.gz", "sub-1_T1w_mask.nii.gz", "T1w.nii.gz"),
        *("sub-1_acq-T1w_bold.nii.gz", "sub-1_T1w_n4_brain.nii.gz", "sub-1_space-T1w_dseg.nii.gz", "sub-1_T1.nii.gz"),
    ],
)
def test_submit_takes_for_a_t1w_what_analyse_does(tmp_path: Path, name: str) -> None:
    """The rule stands twice, because the client must not import the pipeline."""
    for one in (name, "sub-1_FLAIR.nii.gz"):
        (tmp_path / one).write_bytes(b"x")
    assert (image_named_t1w(tmp_path) is not None) == (t1w_first(Path(name)) < 2)


def test_a_plain_name_goes_before_one_with_a_tag(tmp_path: Path) -> None:
    for one in ("sub-1_T1w.nii.gz", "sub-1_T1w_brain.nii.gz"):
        (tmp_path / one).write_bytes(b"x")
    assert image_named_t1w(tmp_path) == tmp_path / "sub-1_T1w.nii.gz"
