"""What is kept of the names of volumes means to `med3d analyse` what the names mean, and holds nothing else."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from med3d_contract.sent_files.volume_names import kept_names
from med3d_pipeline.study.nifti_names import other_contrasts, subjects, t1w_first

NAMES = (
    *("sub-01/anat/sub-01_ses-2_T1w.nii.gz", "sub-1_t1w.nii", "sub-1-T1w.nii.gz", "x_T1w.mgz", "a__T1w.nii"),
    *("sub-1_T1w_defaced.nii.gz", "sub-1_T1w_brain.nii", "sub-1_T1w_n4_brain.nii.gz", "sub-1_T1w_desc-preproc.nii.gz"),
    *("sub-1_T1w_desc-brainmask.nii.gz", "sub-1_T1w_desc-a_mask.nii.gz", "sub-1_T1w_mask.nii.gz", "T1w.nii.gz"),
    *("sub-1_acq-T1w_bold.nii.gz", "sub-1_space-T1w_dseg.nii.gz", "sub-1_T1.nii.gz", "T1w.defaced.nii", "a_T1w.b.nii"),
    *("Doe Jane_FLAIR.nii", "flairInT1space_FLAIR.nii.gz", "FLAIR.nii.gz", "x_PDT2.nii.gz", "x_T2w_desc-denoised.nii"),
    *("orig.mgz", "max_x.nii", "sub-01\\x_T2w.nii", "", "-_-.nii"),
)


def meaning(path: str) -> tuple[object, ...]:
    file = SimpleNamespace(path=Path(path))
    return t1w_first(file.path), other_contrasts([file]), len(subjects([file]))


def sent(kept: str, name: str) -> str:
    return f"00007{kept}{'.mgz' if name.endswith('.mgz') else '.nii.gz'}"


@pytest.mark.parametrize("name", NAMES)
def test_a_kept_name_means_what_the_name_meant_however_often_it_is_kept(name):
    (kept,) = kept_names([name])
    (again,) = kept_names([sent(kept, name)])
    assert meaning(sent(kept, name)) == meaning(sent(again, name)) == meaning(name.replace("\\", "/"))


def test_subjects_stay_apart_and_are_not_told():
    kept = kept_names(["sub-Doe_T1w.nii", "sub-doe_ses-Jane_FLAIR.nii", "sub-Roe/Jim Roe 1966.nii", "x.nii"])
    assert kept == ["_sub-1.x_t1w", "_sub-1.x_flair", "_sub-2.x", ".x"]
