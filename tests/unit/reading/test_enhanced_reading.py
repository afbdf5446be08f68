"""Enhanced MR: one file, many frames, their geometry and values in functional groups."""

import random

import numpy as np
import pytest

from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.mr_headers import NOT_T1_WEIGHTED, T1_WEIGHTED
from rig.dicom.series import enhanced_dataset, head_like, legacy_converted_dataset, ras_affine, write_enhanced
from rig.dicom.studies_on_disk import (
    HEAD_AFFINE,
    HEAD_SHAPE,
    converted_study_by_headers,
    load_only,
    refusal_of_choice,
    refusal_of_reading,
)

SHAPE = (16, 18, 12)
AFFINE = ras_affine((1.0, 1.25, 1.5), (-20.0, 10.0, 35.0))


def test_an_enhanced_object_is_read_by_its_functional_groups(tmp_path):
    voxels = head_like(SHAPE)
    loaded = load_only(write_enhanced(tmp_path / "e.dcm", [voxels], AFFINE))
    np.testing.assert_array_equal(loaded.volume.voxels, voxels)
    np.testing.assert_allclose(loaded.volume.affine, AFFINE)
    assert loaded.acquisition.ti_ms == 850
    assert loaded.acquisition.te_ms == pytest.approx(3.98)


def test_frames_out_of_order_are_sorted_by_position(tmp_path):
    voxels = head_like(SHAPE)
    dataset = enhanced_dataset([voxels], AFFINE)
    order = list(range(SHAPE[2]))
    random.Random(1).shuffle(order)
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]
    dataset.PixelData = np.ascontiguousarray(voxels.transpose(2, 1, 0)[order]).tobytes()
    dataset.save_as(tmp_path / "e.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(load_only(tmp_path).volume.voxels, voxels)


@pytest.mark.parametrize(
    "marks",
    [
        [{"EffectiveEchoTime": 2.5}, {"EffectiveEchoTime": 7.5}],
        [{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}],
        [{"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}],
        [{"FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"]}, {"FrameType": ["ORIGINAL", "PRIMARY", "R", "NONE"]}],
    ],
)
def test_volumes_within_one_enhanced_object_are_told_apart(tmp_path, marks):
    volumes = [head_like(SHAPE, seed=1), head_like(SHAPE, seed=2)]
    path = write_enhanced(tmp_path / "e.dcm", volumes, AFFINE, frames=marks)
    study = read_study([path])
    loaded = [load_series(study, series.label) for series in study.series]
    assert len(loaded) == 2
    assert loaded[0].input_digest != loaded[1].input_digest
    for volume in volumes:
        assert sum(np.array_equal(volume, series.volume.voxels) for series in loaded) == 1


def test_enhanced_frames_are_rescaled_by_their_own_values(tmp_path):
    voxels = head_like(SHAPE)
    marks = [{"RescaleSlope": 2.5, "RescaleIntercept": -7}]
    loaded = load_only(write_enhanced(tmp_path / "e.dcm", [voxels], AFFINE, frames=marks))
    np.testing.assert_allclose(loaded.volume.voxels, voxels * 2.5 - 7)


def test_a_missing_frame_of_an_enhanced_object_is_a_missing_slice(tmp_path):
    dataset = enhanced_dataset([head_like(SHAPE)], AFFINE)
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PerFrameFunctionalGroupsSequence = groups[:5] + groups[6:]
    dataset.NumberOfFrames = SHAPE[2] - 1
    dataset.PixelData = dataset.PixelData[: 2 * SHAPE[0] * SHAPE[1] * (SHAPE[2] - 1)]
    dataset.save_as(tmp_path / "e.dcm", enforce_file_format=True)
    assert refusal_of_reading(tmp_path) == "missing_slices"


# What classic images said, converted by an archive


def converted_study(folder, **header):
    dataset = legacy_converted_dataset(head_like(HEAD_SHAPE), HEAD_AFFINE, **header)
    dataset.save_as(folder / "converted.dcm", enforce_file_format=True)
    return read_study([folder])


@pytest.mark.parametrize("header", T1_WEIGHTED.values(), ids=T1_WEIGHTED)
def test_a_converted_t1_weighted_series_is_recognised_by_its_converted_attributes(tmp_path, header):
    study = converted_study(tmp_path, **header)
    selection = select_series(study)
    assert selection.chosen.startswith("series 1019: 3D T1w")
    acquisition = load_series(study, selection.chosen).acquisition
    assert (acquisition.tr_ms, acquisition.te_ms) == (header["RepetitionTime"], header["EchoTime"])


def test_a_converted_study_by_headers_is_the_one_whose_frames_are_all_written(tmp_path):
    header = T1_WEIGHTED["MPRAGE, Siemens 3 T"]
    whole, short = (select_series(made(tmp_path, **header)) for made in (converted_study, converted_study_by_headers))
    assert whole == short


@pytest.mark.parametrize("header", NOT_T1_WEIGHTED.values(), ids=NOT_T1_WEIGHTED)
def test_a_converted_series_of_another_contrast_stays_refused(tmp_path, header):
    assert refusal_of_choice(converted_study_by_headers(tmp_path, **header)).code == "no_t1w_series"
