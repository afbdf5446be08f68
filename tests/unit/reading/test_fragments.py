"""Pieces of series from many scanners and compressions, against the voxels that another converter made of them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_headers import read_planes
from med3d_pipeline.reading.stack_geometry import assemble_stack
from med3d_pipeline.study.study import load_series, read_study, select_series

pytestmark = pytest.mark.realdata

# All fragments that form a volume and have a ground truth beside them.
WITH_TRUTH = [
    "anatomical/001", "anatomical/001_implicit", "ge/anatomical/001", "ge/anatomical/001_implicit",
    "generic/anatomical/001", "generic/anatomical/001_implicit", "generic/anatomical/002_non_isotropic",
    "generic/compressed/001", "generic/compressed_j2k/001", "generic/compressed_jpeg/001",
    "generic/compressed_jpegls/001", "generic/compressed_rle/001", "hitachi/anatomical/001",
    "hitachi/anatomical/001_implicit", "hyperfine/anatomical/001", "philips_enhanced/anatomical/001",
    "philips_enhanced/anatomical/001_implicit", "siemens_multiframe/anatomical/001",
]  # fmt: skip


def planes_of(folder: Path):
    return [plane for path in sorted(folder.iterdir()) for plane in read_planes(path)]


def right_anterior_superior(voxels, affine):
    image = nib.as_closest_canonical(nib.Nifti1Image(voxels, affine))
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("fragment", WITH_TRUTH)
def test_a_fragment_decodes_to_its_ground_truth(test_data, fragment):
    folder = test_data / "dicom/fragments" / fragment
    study = read_study([folder])
    (series,) = study.series
    loaded = load_series(study, series.label).volume
    truth = nib.load(folder.parent / f"{folder.name}_ground_truth.nii.gz")
    expected, expected_affine = right_anterior_superior(np.squeeze(truth.get_fdata()), truth.affine)
    voxels, affine = right_anterior_superior(np.array(loaded.voxels), loaded.affine)
    assert voxels.shape == expected.shape
    np.testing.assert_allclose(affine, expected_affine, atol=2e-3)
    np.testing.assert_allclose(voxels, expected, rtol=1e-4, atol=1e-3 * np.abs(expected).max())


# (folder, code at the reader, code end to end, modality as the data says)
FAILING = [
    ("gantrytilting/001", "gantry_tilt", "not_mr"),
    ("notavolume/001", "duplicate_slices", "not_mr"),
    ("sliceincrement/001", "missing_slices", "not_mr"),
    ("sliceincrement/002", "missing_slices", "not_mr"),
    ("slicecount/001", "missing_slices", "no_t1w_series"),
    ("sliceorientation/001", "mixed_orientation", "no_t1w_series"),
]


@pytest.mark.parametrize(("fragment", "at_the_reader", "end_to_end"), FAILING)
def test_a_failing_fragment_ends_in_its_codes(test_data, fragment, at_the_reader, end_to_end):
    folder = test_data / "dicom/fragments/failing" / fragment
    with pytest.raises(InputRefused) as assembled:
        assemble_stack(planes_of(folder))
    assert assembled.value.code == at_the_reader
    study = read_study([folder])
    with pytest.raises(InputRefused) as loaded:
        load_series(study, study.series[0].label)
    assert loaded.value.code == at_the_reader
    with pytest.raises(InputRefused) as selected:
        select_series(study)
    assert selected.value.code == end_to_end
    assert selected.value.details["candidates"]


def test_a_single_slice_is_no_volume(test_data):
    folder = test_data / "dicom/fragments/ge/anatomical/001_single_slice"
    study = read_study([folder])
    with pytest.raises(InputRefused, match=r"^missing_slices"):
        select_series(study)


def test_the_colour_fragment_is_a_secondary_capture(test_data):
    folder = test_data / "dicom/fragments/generic/rgb/001"
    with pytest.raises(InputRefused) as selected:
        select_series(read_study([folder]))
    assert selected.value.code == "secondary_capture"
    study = read_study([folder])
    with pytest.raises(InputRefused, match=r"^unsupported_colour"):
        load_series(study, study.series[0].label)


def test_the_reformat_fragment_is_derived(test_data):
    with pytest.raises(InputRefused) as selected:
        select_series(read_study([test_data / "dicom/fragments/generic/anatomical/002_non_isotropic"]))
    assert selected.value.code == "derived_only"


def test_fragments_of_t2_and_density_scans_are_told_from_t1(test_data):
    for fragment in ("generic/anatomical/001", "hitachi/anatomical/001", "hyperfine/anatomical/001"):
        with pytest.raises(InputRefused, match=r"^no_t1w_series"):
            select_series(read_study([test_data / "dicom/fragments" / fragment]))


def test_fragments_of_t1_scans_lack_only_coverage(test_data):
    for fragment in ("ge/anatomical/001", "philips_enhanced/anatomical/001", "siemens_multiframe/anatomical/001"):
        with pytest.raises(InputRefused, match=r"^insufficient_coverage"):
            select_series(read_study([test_data / "dicom/fragments" / fragment]))


def test_mixing_all_fragments_of_one_folder_keeps_files_beside_them_apart(test_data):
    study = read_study([test_data / "dicom/fragments/generic/anatomical"])
    assert any(series.label.startswith("volume") for series in study.series)
    assert len({series.label for series in study.series}) == len(study.series)
