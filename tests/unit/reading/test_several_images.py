"""Several images in one input: copies, masks beside a head, several heads, several patients."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.volume_files.label_images import label_fault
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.series import head_like, ras_affine, write_series

AFFINE = ras_affine((2.5, 2.5, 2.5), (-50, -55, -50))
SHAPE = (40, 44, 40)


def save(path: Path, voxels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, AFFINE)
    image.set_sform(AFFINE, code=1)
    image.to_filename(path)
    return path


def head(seed: int = 0) -> np.ndarray:
    return head_like(SHAPE, seed).astype(np.int16)


def mask() -> np.ndarray:
    return (gaussian_filter(head().astype(float), 2) > 60).astype(np.uint8)


def labels(count: int) -> np.ndarray:
    """Regions as of an atlas, numbered without any order."""
    rng = np.random.default_rng(count)
    coarse = rng.permutation(4 * count)[:count][rng.integers(0, count, (10, 11, 10))]
    return (np.kron(coarse, np.ones((4, 4, 4), int)) * mask()).astype(np.int16)


def code_of(folder: Path) -> str:
    with pytest.raises(InputRefused) as refused:
        select_series(read_study([folder]))
    return refused.value.code


@pytest.mark.parametrize("voxels", [mask(), mask() * 255, labels(6), labels(100)])
def test_a_mask_or_label_image_is_refused_by_name(tmp_path, voxels):
    count = len(np.unique(voxels))
    study = read_study([save(tmp_path / "a.nii.gz", voxels)])
    with pytest.raises(InputRefused, match=rf"^label_image: .*: {count} whole-number values") as refused:
        load_series(study, study.series[0].label)
    assert "Send the T1-weighted head scan itself" in refused.value.reason


@pytest.mark.parametrize(
    "voxels",
    [
        head(),
        head() // 4,
        np.round(gaussian_filter(head().astype(float), 1.5)),
        np.where(mask() > 0, head(), 0),
        np.where(mask() > 0, head(), np.nan),
        np.ones(SHAPE),
        np.zeros(SHAPE),
    ],
    ids=["head", "few greys", "smooth", "brain", "nan", "constant", "empty"],
)
def test_a_scan_is_no_label_image(voxels):
    assert label_fault(voxels.astype(np.float32)) is None


def test_values_that_are_each_one_run_along_the_rows_are_labels():
    voxels = np.zeros((40, 40, 40), np.float32)
    for x, y in np.ndindex(30, 30):
        voxels[x + 5, y + 5, 5 : 10 + (7 * x + 3 * y) % 20] = 100 + 30 * x + y
    assert label_fault(voxels).code == "label_image"


@pytest.mark.parametrize("other", [mask(), labels(6), labels(100)], ids=["mask", "tissues", "regions"])
def test_a_mask_beside_a_head_is_not_a_head(tmp_path, other):
    save(tmp_path / "a_mask.nii.gz", other)
    save(tmp_path / "head.nii.gz", head())
    study = read_study([tmp_path])
    selection = select_series(study)
    np.testing.assert_array_equal(load_series(study, selection.chosen).volume.voxels, head())
    assert [candidate.code for candidate in selection.candidates] == [None, "label_image"]


def test_copies_of_one_image_are_one_however_they_are_packed(tmp_path):
    plain = save(tmp_path / "t1.nii", head())
    (tmp_path / "t1(1).nii").write_bytes(plain.read_bytes())
    (tmp_path / "t1.nii.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert len(read_study([tmp_path]).series) == 1


def test_several_heads_are_refused_but_one_may_be_chosen(tmp_path):
    for seed in (1, 2):
        save(tmp_path / f"{seed}.nii.gz", head(seed))
    assert code_of(tmp_path) == "several_images"
    study = read_study([tmp_path])
    by_hand = select_series(study, study.series[1].label)
    assert load_series(study, by_hand.chosen).volume.shape == SHAPE


def probabilities() -> np.ndarray:
    return gaussian_filter(mask().astype(np.float32), 1.5)


def scaled_head(percentile: float) -> np.ndarray:
    grey = head(7).astype(np.float32)
    return np.clip((grey - 10) / np.percentile(grey, percentile), 0, 1)


def test_a_map_of_probabilities_beside_a_head_is_not_a_head(tmp_path):
    save(tmp_path / "head.nii.gz", head())
    save(tmp_path / "c1head.nii.gz", probabilities())
    study = read_study([tmp_path])
    selection = select_series(study)
    np.testing.assert_array_equal(load_series(study, selection.chosen).volume.voxels, head())
    assert [candidate.code for candidate in selection.candidates] == [None, "label_image"]


@pytest.mark.parametrize("percentile", [95, 99, 100])
def test_a_head_scaled_to_one_stays_a_head(tmp_path, percentile):
    save(tmp_path / "head.nii.gz", head())
    save(tmp_path / "scaled.nii.gz", scaled_head(percentile))
    assert code_of(tmp_path) == "several_images"


def test_maps_of_probabilities_alone_are_not_chosen_between(tmp_path):
    save(tmp_path / "c1.nii.gz", probabilities())
    save(tmp_path / "c2.nii.gz", probabilities()[::-1])
    assert code_of(tmp_path) == "several_images"


@pytest.mark.parametrize("tags", ["_defaced", "_brain", "_n4", "_desc-preproc", "_n4_brain"])
def test_a_known_tag_may_follow_t1w(tmp_path, tags):
    save(tmp_path / "sub-01_FLAIR.nii.gz", head(1))
    save(tmp_path / f"sub-01_T1w{tags}.nii.gz", head(2))
    study = read_study([tmp_path])
    np.testing.assert_array_equal(load_series(study, select_series(study).chosen).volume.voxels, head(2))


@pytest.mark.parametrize("tags", ["_mask", "_space-MNI", "_desc-brain_mask", "_desc-brainmask", "c", "_to_FLAIR"])
def test_another_word_after_t1w_chooses_nothing(tmp_path, tags):
    save(tmp_path / "sub-01_FLAIR.nii.gz", head(1))
    save(tmp_path / f"sub-01_T1w{tags}.nii.gz", head(2))
    assert code_of(tmp_path) == "several_images"


def test_the_untouched_t1w_goes_before_the_tagged_one(tmp_path):
    save(tmp_path / "sub-01_T1w_brain.nii.gz", head(1))
    save(tmp_path / "sub-01_T1w.nii.gz", head(2))
    study = read_study([tmp_path])
    np.testing.assert_array_equal(load_series(study, select_series(study).chosen).volume.voxels, head(2))


def test_where_the_names_tell_that_none_is_t1w_this_is_said(tmp_path):
    save(tmp_path / "sub-01_FLAIR.nii.gz", head(1))
    save(tmp_path / "sub-01_t2w_defaced.nii.gz", head(2))
    with pytest.raises(InputRefused, match=r"^no_t1w_series: .*none of the 2 images .*\(FLAIR, T2w\)") as refused:
        select_series(read_study([tmp_path]))
    assert "ending in" not in refused.value.reason
    assert select_series(read_study([tmp_path]), "sub-01_FLAIR.nii.gz").chosen
    save(tmp_path / "x.nii.gz", head(3))
    assert code_of(tmp_path) == "several_images"


def test_of_a_freesurfer_folder_the_original_is_asked_for(tmp_path):
    for seed, name in enumerate(("orig", "T1")):
        nib.MGHImage(head(seed), AFFINE).to_filename(tmp_path / f"{name}.mgz")
    with pytest.raises(InputRefused, match=r"^several_images: .*mri/orig\.mgz"):
        select_series(read_study([tmp_path]))


@pytest.mark.parametrize("said", ["b_T1w.nii.gz", "B_t1w.nii.gz", "copy of b.nii"])
def test_a_file_is_chosen_by_its_name_or_that_of_its_copy(tmp_path, said):
    save(tmp_path / "x" / "a_T1w.nii.gz", head(1))
    packed = save(tmp_path / "y" / "b_T1w.nii.gz", head(2))
    (tmp_path / "copy of b.nii").write_bytes(gzip.decompress(packed.read_bytes()))
    study = read_study([tmp_path])
    chosen = select_series(study, said).chosen
    np.testing.assert_array_equal(load_series(study, chosen).volume.voxels, head(2))
    assert said not in chosen


def test_a_name_that_two_files_have_chooses_neither(tmp_path):
    for seed in (1, 2):
        save(tmp_path / f"{seed}" / "T1w.nii.gz", head(seed))
    with pytest.raises(InputRefused, match=r"^unknown_series: The study holds 2 files of that name") as refused:
        select_series(read_study([tmp_path]), "T1w.nii.gz")
    assert "T1w.nii" not in str(refused.value)


@pytest.mark.parametrize("name", ["sub-01_T1w.nii.gz", "sub-01_ses-2_acq-x_T1w.nii.gz", "SUB-01_T1W.nii.gz"])
def test_the_one_that_is_called_t1w_is_taken_and_this_is_said(tmp_path, name):
    save(tmp_path / "sub-01_FLAIR.nii.gz", head(1))
    save(tmp_path / "sub-01_T2w.nii.gz", head(2))
    save(tmp_path / name, head(3))
    study = read_study([tmp_path])
    selection = select_series(study)
    np.testing.assert_array_equal(load_series(study, selection.chosen).volume.voxels, head(3))
    assert "chosen_by_name" in {reason.code for reason in selection.review_reasons}


def test_two_that_are_called_t1w_are_refused(tmp_path):
    for run in (1, 2):
        save(tmp_path / f"sub-01_run-{run}_T1w.nii.gz", head(run))
    assert code_of(tmp_path) == "several_images"


def test_heads_of_two_subjects_are_refused(tmp_path):
    for subject in ("01", "02"):
        save(tmp_path / f"sub-{subject}" / "t1.nii.gz", head(int(subject)))
    assert code_of(tmp_path) == "several_patients"


def test_several_images_beside_a_dicom_series_change_nothing(tmp_path):
    for seed in (1, 2):
        save(tmp_path / f"{seed}.nii.gz", head(seed))
    write_series(tmp_path / "dicom", head_like(SHAPE), AFFINE)
    assert select_series(read_study([tmp_path])).chosen.startswith("series 19")


def two_studies(folder: Path, first: dict, second: dict) -> Path:
    for name, header in (("a", first), ("b", second)):
        write_series(
            folder / name, head_like(SHAPE), AFFINE, series=name, StudyInstanceUID=f"1.2.{ord(name)}", **header
        )
    return folder


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"PatientID": "A"}, {"PatientID": "B"}),
        ({"PatientSex": "F"}, {"PatientSex": "M"}),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19900101"}),
        ({"PatientID": "ANON", "PatientSex": "F"}, {"PatientID": "ANON", "PatientSex": "M"}),
    ],
)
def test_images_of_two_patients_are_refused(tmp_path, first, second):
    with pytest.raises(InputRefused) as refused:
        read_study([two_studies(tmp_path, first, second)])
    assert refused.value.code == "several_patients"
    assert "ANON" not in str(refused.value)
    assert "1950" not in str(refused.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"PatientID": "a1"}, {"PatientID": "A1 "}),
        ({"PatientID": "A", "PatientSex": "F"}, {"PatientSex": ""}),
        ({"PatientSex": "O"}, {"PatientSex": "M"}),
        ({"PatientAge": "045Y"}, {"PatientAge": "047Y"}),
    ],
)
def test_two_visits_of_one_patient_are_one_input(tmp_path, first, second):
    assert len(read_study([two_studies(tmp_path, first, second)]).series) == 2
