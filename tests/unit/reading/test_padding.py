"""Pixels that a file declares as padding are no tissue, whatever their value, and become the image's black."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from rig.dicom.series import enhanced_dataset, head_like, ras_affine, save_all, slice_datasets
from rig.dicom.studies_on_disk import load_only

SHAPE = (16, 18, 12)
AFFINE = ras_affine((2.5, 2.5, 2.5))


def padded_head(dtype: str, value: int) -> tuple[np.ndarray, np.ndarray]:
    """A head whose corners hold ``value``, and what is expected of it: black there."""
    head = head_like(SHAPE).astype(dtype) + np.array(7).astype(dtype)
    corners = np.zeros(SHAPE, dtype=bool)
    corners[:4, :4], corners[-3:, -3:] = True, True
    expected = head.astype(np.float32)
    expected[corners] = head[~corners].min()
    head[corners] = value
    return head, expected


def declare(dataset, vr, value, limit=None):
    dataset.add_new(0x00280120, vr, value)
    if limit is not None:
        dataset.add_new(0x00280121, vr, limit)


@pytest.mark.parametrize(
    ("dtype", "stored", "vr", "stated"),
    [
        ("int16", -2000, "SS", -2000),
        ("int16", -32768, "SS", -32768),
        ("int16", -2000, "US", 63536),  # declared with the other VR
        ("uint16", 65535, "US", 65535),
        ("uint16", 63536, "SS", -2000),
        ("uint16", 0, "US", 0),
    ],
)
def test_padding_of_classic_images_becomes_black(tmp_path, dtype, stored, vr, stated):
    head, expected = padded_head(dtype, stored)
    datasets = slice_datasets(head, AFFINE)
    for dataset in datasets:
        declare(dataset, vr, stated)
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, datasets)).volume.voxels, expected)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_padding_is_found_in_every_encoding(tmp_path, syntax):
    head, expected = padded_head("int16", -2000)
    datasets = slice_datasets(head, AFFINE)
    for dataset in datasets:
        declare(dataset, "SS", -2000)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, datasets)).volume.voxels, expected)


@pytest.mark.parametrize(("value", "limit"), [(-2000, -1990), (-1990, -2000)])
def test_a_range_of_padding_values_becomes_black(tmp_path, value, limit):
    head, expected = padded_head("int16", -1995)
    datasets = slice_datasets(head, AFFINE)
    for dataset in datasets:
        declare(dataset, "SS", value, limit)
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, datasets)).volume.voxels, expected)


def test_padding_is_told_before_rescaling_and_before_turning_the_greys(tmp_path):
    head, _ = padded_head("uint16", 4095)
    datasets = slice_datasets(
        head, AFFINE, RescaleSlope=2, RescaleIntercept=-5, PhotometricInterpretation="MONOCHROME1"
    )
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
        declare(dataset, "US", 4095)
    voxels = load_only(*save_all(tmp_path, datasets)).volume.voxels
    expected = 2.0 * (4095 - head.astype(np.float32)) - 5
    expected[head == 4095] = expected[head != 4095].min()
    np.testing.assert_array_equal(voxels, expected)


def test_padding_of_enhanced_images_becomes_black(tmp_path):
    head, expected = padded_head("int16", -2000)
    dataset = enhanced_dataset([head], AFFINE)
    declare(dataset, "SS", -2000)
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, [dataset])).volume.voxels, expected)


def test_an_image_that_is_all_padding_stays_finite(tmp_path):
    datasets = slice_datasets(np.full(SHAPE, -2000, "int16"), AFFINE)
    for dataset in datasets:
        declare(dataset, "SS", -2000)
    assert not load_only(*save_all(tmp_path, datasets)).volume.voxels.any()
