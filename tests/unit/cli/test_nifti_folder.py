"""A folder of NIfTI files by `med3d submit`: the one named _T1w is sent, as `med3d analyse` chooses."""

import pytest

from med3d_client.nifti_folder import image_named_t1w

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
