"""Ties must end alike in a study and in its working copy, whose UIDs and unknown words are others at every site."""

import numpy as np
import pytest

from med3d_pipeline.study.series_selection import select_series
from med3d_pipeline.study.study import load_series, read_study
from med3d_service.studies.working_copy.deidentify import Deidentifier
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from rig.dicom.series import head_like, save_all, slice_datasets
from rig.dicom.studies_on_disk import HEAD_AFFINE, HEAD_SHAPE

BESIDE = HEAD_AFFINE + np.array([[0, 0, 0, 1.5], [0] * 4, [0] * 4, [0] * 4])


def two_acquisitions_of_one_series():
    second = slice_datasets(head_like(HEAD_SHAPE, 2), BESIDE, series="one", AcquisitionNumber=2)
    for dataset in second:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID[:40]}.2"
    return slice_datasets(head_like(HEAD_SHAPE, 1), HEAD_AFFINE, series="one", AcquisitionNumber=1) + second


def two_series_that_only_their_pixels_tell_apart():
    first, second = (slice_datasets(head_like(HEAD_SHAPE, seed), HEAD_AFFINE, series=str(seed)) for seed in (1, 2))
    return first + second


def one_series_of_two_kinds_of_slices():
    datasets = slice_datasets(head_like(HEAD_SHAPE), HEAD_AFFINE)
    for index, dataset in enumerate(datasets):
        word, echo_ms = (("LOWER", 3.0), ("UPPER", 3.5))[2 * index // len(datasets)]
        dataset.ImageType, dataset.EchoTime = [*dataset.ImageType, word], echo_ms
    return datasets


def one_instance_sent_twice_with_another_header():
    once, again = (slice_datasets(head_like(HEAD_SHAPE), HEAD_AFFINE, EchoTime=echo_ms) for echo_ms in (3.0, 4.0))
    return once + again


def as_taken(folder):
    study = read_study([folder])
    loaded = load_series(study, select_series(study).chosen)
    return loaded.volume.affine, loaded.volume.voxels, loaded.acquisition.te_ms


def copied(datasets, folder, key):
    deidentifier = Deidentifier(Pseudonyms(key))
    folder.mkdir()
    for number, path in enumerate(datasets):
        (folder / f"{number:05d}.dcm").write_bytes(deidentifier.copy(path.read_bytes())[0])
    return folder


@pytest.mark.parametrize(
    "study",
    [
        two_acquisitions_of_one_series,
        two_series_that_only_their_pixels_tell_apart,
        one_series_of_two_kinds_of_slices,
        one_instance_sent_twice_with_another_header,
    ],
)
def test_every_copy_of_a_study_ends_in_the_same_volume(study, tmp_path):
    paths = save_all(tmp_path / "original", study())
    affine, voxels, te_ms = as_taken(tmp_path / "original")
    for site in range(3):
        copy = copied(paths, tmp_path / f"{site}", bytes([site]) * 32)
        copied_affine, copied_voxels, copied_te_ms = as_taken(copy)
        np.testing.assert_array_equal(copied_affine, affine)
        np.testing.assert_array_equal(copied_voxels, voxels)
        assert copied_te_ms == te_ms


def test_the_first_acquisition_of_a_series_comes_first(tmp_path):
    save_all(tmp_path, two_acquisitions_of_one_series())
    affine, voxels, _ = as_taken(tmp_path)
    np.testing.assert_allclose(affine, HEAD_AFFINE)
    np.testing.assert_array_equal(voxels, head_like(HEAD_SHAPE, 1))
