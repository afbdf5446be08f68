"""Images that cannot be used are named by their row, all of them at once, and so are cached tensors that do not fit."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject
from med3d_export.subjects.tensor_cache import TensorCache
from med3d_pipeline.bundle.bundle import Bundle


def image(path: Path, voxels: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


def cohort_of(*paths: Path) -> Cohort:
    return Cohort(
        tuple(CohortSubject(row, f"s{row}", 30.0 + row, "F", "A", path) for row, path in enumerate(paths, start=2))
    )


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "tensors", Bundle.default_path(), jobs=1)


def test_every_unusable_image_is_named_with_its_row(tmp_path, cache):
    grain = np.random.default_rng(1).random((40, 48, 40))
    spoilt = grain.copy()
    spoilt[20, 20, 20] = np.nan
    whole = image(tmp_path / "noise.nii.gz", grain)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    text = tmp_path / "text.nii.gz"
    text.write_bytes(gzip.compress(b"participant_id,age"))
    paths = [
        image(tmp_path / "nan.nii.gz", spoilt), image(tmp_path / "series.nii.gz", np.stack([grain, grain], axis=-1)),
        cut, text, image(tmp_path / "empty.nii.gz", np.zeros((40, 48, 40))),
    ]  # fmt: skip
    with pytest.raises(CohortError) as caught:
        cache.prepare(cohort_of(*paths))
    rows = [problem.split(":")[0] for problem in caught.value.problems]
    assert rows == ["row 2", "row 3", "row 4", "row 5", "row 6"]
    assert "not_finite" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (np.zeros((32, 32, 32)), r"row 3: its cached tensor has the grid \(32, 32, 32\), not \(64, 64, 64\); delete"),
        (np.full((64, 64, 64), np.nan), "row 3: its cached tensor holds values that are not finite; delete"),
    ],
    ids=["another grid", "not finite"],
)
def test_a_cached_tensor_that_does_not_fit_the_others_is_named(tmp_path, cache, tensor, said):
    cohort = cohort_of(tmp_path / "a.nii", tmp_path / "b.nii")
    for number, subject in enumerate(cohort.subjects):
        subject.t1w.write_bytes(bytes([number]))
    places = cache.places(cohort)
    cache.folder.mkdir()
    for place, kept in zip(places.values(), (np.zeros((64, 64, 64)), tensor), strict=True):
        np.savez(place, tensor=kept.astype(np.float32), names=np.array(["brain_volume_ml"]), values=np.array([1.0]))
    with pytest.raises(CohortError, match=said):
        cache.prepare(cohort)


def test_one_scan_under_two_names_is_named_with_both_rows(tmp_path, cache):
    head = image(tmp_path / "a.nii", np.random.default_rng(1).random((4, 4, 4)))
    (tmp_path / "b.nii").write_bytes(head.read_bytes())
    (tmp_path / "c.nii").symlink_to(head)
    with pytest.raises(CohortError) as caught:
        cache.prepare(cohort_of(head, tmp_path / "b.nii", tmp_path / "c.nii"))
    assert caught.value.problems == [f"row {row}: the image is that of row 2 (s2)" for row in (3, 4)]
