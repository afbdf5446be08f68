import gzip
import struct
import tracemalloc
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.series import head_like, ras_affine, write_series
from rig.examples import at_most

AFFINE = ras_affine((4, 3, 5), (-60, -80, -50), np.eye(3)[:, [1, 0, 2]] * [1, -1, 1])
ONE_MM = ras_affine((1, 1, 1), (-80, -100, -70))


def nifti_image(voxels, affine=AFFINE, sform=1, qform=1, kind=nib.Nifti1Image):
    image = kind(voxels, None if affine is None else affine)
    image.set_sform(affine, code=sform)
    image.set_qform(affine, code=qform)
    return image


def save(image, path):
    image.to_filename(path)
    return path


def load_only(path):
    study = read_study([path])
    (series,) = study.series
    return load_series(study, series.label)


def refusal_codes(path):
    study = read_study([path])
    with pytest.raises(InputRefused) as selected:
        select_series(study)
    with pytest.raises(InputRefused) as loaded:
        load_series(study, study.series[0].label)
    assert selected.value.details["candidates"]
    return selected.value.code, loaded.value.code


def overwrite(path, offset, data):
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_every_flavour_of_nifti_is_read_as_it_is(tmp_path, suffix, kind, dtype):
    voxels = head_like().astype(dtype)
    loaded = load_only(save(nifti_image(voxels, kind=kind), tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(loaded.volume.voxels, voxels.astype(np.float32))
    np.testing.assert_allclose(loaded.volume.affine, AFFINE, atol=1e-4)


def test_a_fourth_axis_of_one_volume_is_accepted(tmp_path):
    voxels = head_like()
    loaded = load_only(save(nifti_image(voxels[..., None, None]), tmp_path / "a.nii"))
    np.testing.assert_array_equal(loaded.volume.voxels, voxels)


def test_slope_and_intercept_are_applied(tmp_path):
    voxels = head_like().astype("int16")
    image = nifti_image(voxels)
    image.header.set_slope_inter(0.5, 7)
    path = save(image, tmp_path / "a.nii")
    stored = nib.load(path).dataobj.get_unscaled()
    expected = stored.astype(np.float32) * 0.5 + 7
    np.testing.assert_allclose(load_only(path).volume.voxels, expected, rtol=1e-6)


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (2, 1)])
def test_one_form_is_enough_and_two_may_agree(tmp_path, sform, qform):
    image = nifti_image(head_like(), sform=sform, qform=qform)
    np.testing.assert_allclose(load_only(save(image, tmp_path / "a.nii")).volume.affine, AFFINE, atol=1e-4)


def test_the_volume_does_not_depend_on_the_files_name_or_compression(tmp_path):
    image = nifti_image(head_like())
    plain = save(image, tmp_path / "a.nii")
    renamed = tmp_path / "without_extension"
    renamed.write_bytes(plain.read_bytes())
    zipped = tmp_path / "zipped"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    first, second, third = load_only(plain), load_only(renamed), load_only(zipped)
    assert first.input_digest == second.input_digest != third.input_digest
    np.testing.assert_array_equal(first.volume.voxels, third.volume.voxels)


def turned(degrees, shift=(0.0, 0.0, 0.0)):
    """A rigid motion: a turn about an oblique axis, then a shift in mm."""
    axis = np.array([1.0, 2, -1]) / np.sqrt(6)
    cross = np.cross(np.eye(3), axis)
    angle = np.radians(degrees)
    motion = np.eye(4)
    motion[:3, :3] = np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    motion[:3, 3] = shift
    return motion


@pytest.mark.parametrize("affine", [AFFINE, ONE_MM], ids=["oblong", "cubic"])
@pytest.mark.parametrize(
    "motion",
    [turned(0, (0, 0, 30)), turned(0, (5, 0, 0)), turned(8, (2, -15, 20)), turned(180), turned(-75, (0, 300, 0))],
    ids=["cropped", "shifted", "coregistered", "upside down", "far"],
)
def test_where_the_forms_differ_by_a_motion_sform_is_taken_and_this_is_said(tmp_path, affine, motion):
    voxels = head_like((60, 64, 60))
    image = nifti_image(voxels, affine)
    image.set_sform(motion @ affine, code=2)
    study = read_study([save(image, tmp_path / "a.nii")])
    np.testing.assert_allclose(load_series(study, study.series[0].label).volume.affine, motion @ affine, atol=1e-3)
    assert "forms_differ" in {remark.code for remark in study.series[0].appraisal.review}


# Nought, a quiet NaN, and a signalling one, of which numpy warns where it is converted.
@pytest.mark.parametrize("written", ["00000000", "0000c07f", "0000a07f"])
def test_a_sform_that_is_marked_as_set_and_places_nothing_leaves_qform_and_this_is_said(tmp_path, written):
    path = save(nifti_image(head_like((60, 64, 60))), tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[280:328] = bytes.fromhex(written) * 12  # srow_x, srow_y, srow_z
    path.write_bytes(content)
    study = read_study([path])
    np.testing.assert_allclose(load_series(study, study.series[0].label).volume.affine, AFFINE, atol=1e-3)
    (remark,) = (each for each in study.series[0].appraisal.review if each.code == "forms_differ")
    assert "qform was taken" in remark.sentence


@pytest.mark.parametrize(
    "change",
    [
        np.diag([-1.0, 1, 1, 1]),
        np.diag([-1.0, -1, -1, 1]),
        np.diag([1.1, 1.1, 1.1, 1]),
        np.diag([1, 1, 1.05, 1]),
        np.array([[1, 0.008, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ turned(10),
        np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
    ids=["mirrored", "all mirrored", "larger", "longer", "sheared", "sheared by 11 degrees"],
)
def test_forms_that_no_motion_brings_together_are_refused(tmp_path, change):
    image = nifti_image(np.zeros((200, 200, 180), np.uint8), ONE_MM)
    image.set_sform(change @ ONE_MM, code=2)
    assert refusal_codes(save(image, tmp_path / "a.nii")) == ("nifti_forms_disagree",) * 2


def test_no_form_at_all_is_refused(tmp_path):
    image = nifti_image(head_like(), sform=0, qform=0)
    assert refusal_codes(save(image, tmp_path / "a.nii")) == ("nifti_no_affine",) * 2


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 20, 3), (20, 20, 20, 1, 2)])
def test_anything_but_one_volume_is_refused(tmp_path, shape):
    image = nifti_image(np.zeros(shape, np.uint8))
    assert refusal_codes(save(image, tmp_path / "a.nii.gz")) == ("nifti_not_one_volume",) * 2


@pytest.mark.parametrize("dtype", ["complex64", [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_coloured_and_complex_voxels_are_refused(tmp_path, dtype):
    image = nifti_image(np.zeros((20, 20, 20), dtype))
    assert refusal_codes(save(image, tmp_path / "a.nii")) == ("unsupported_colour",) * 2


def test_a_sheared_affine_is_refused(tmp_path):
    sheared = ONE_MM.copy()
    sheared[1, 2] = 0.2
    image = nib.Nifti1Image(head_like(), sheared)
    assert refusal_codes(save(image, tmp_path / "a.nii")) == ("gantry_tilt",) * 2


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_cut_in_its_voxels_is_truncated(tmp_path, suffix):
    rng = np.random.default_rng(1)
    whole = nifti_image(rng.integers(0, 200, (120, 120, 110)).astype(np.uint8), ONE_MM)
    path = save(whole, tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[:-5000])
    study = read_study([path])
    with pytest.raises(InputRefused, match=r"^nifti_truncated"):
        load_series(study, select_series(study).chosen)


@pytest.mark.parametrize(
    "content",
    [b"", b"no image at all", bytes(600), gzip.compress(b"neither")],
    ids=["empty", "words", "noughts", "compressed words"],
)
def test_a_file_that_only_calls_itself_nifti_is_refused(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    assert refusal_codes(path) == ("nifti_unreadable",) * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_left_to_preprocessing(tmp_path, bad):
    voxels = head_like().astype(np.float32)
    voxels[4, 5, 6] = bad
    study = read_study([save(nifti_image(voxels), tmp_path / "a.nii")])
    np.testing.assert_array_equal(load_series(study, study.series[0].label).volume.voxels, voxels)


def test_an_affine_that_is_no_number_is_refused(tmp_path):
    path = save(nifti_image(head_like(), qform=0), tmp_path / "a.nii")
    overwrite(path, 280, struct.pack("<f", np.nan))
    assert refusal_codes(path) == ("invalid_geometry",) * 2


def test_an_absurd_header_is_refused_before_memory_is_asked_for(tmp_path):
    path = save(nifti_image(head_like(), ONE_MM), tmp_path / "a.nii")
    overwrite(path, 42, struct.pack("<3h", 32000, 32000, 32000))
    assert refusal_codes(path) == ("too_large",) * 2


def test_a_gzip_bomb_costs_no_more_than_its_header_announces(tmp_path):
    whole = nifti_image(np.zeros((130, 130, 130), np.uint8), ONE_MM)
    plain = save(whole, tmp_path / "a.nii").read_bytes()
    bomb = tmp_path / "bomb.nii.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(plain)
        for _ in range(300):
            file.write(bytes(10**6))
    tracemalloc.start()
    loaded = load_only(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loaded.volume.shape == (130, 130, 130)
    assert peak < 60e6


def test_metres_and_micrometres_become_millimetres(tmp_path):
    image = nifti_image(head_like(), ras_affine((0.001, 0.001, 0.001)))
    image.header.set_xyzt_units("meter")
    assert load_only(save(image, tmp_path / "a.nii")).volume.spacing_mm == pytest.approx((1, 1, 1), rel=1e-5)


def test_a_plain_head_is_eligible_and_says_that_contrast_was_not_checked(tmp_path):
    study = read_study([save(nifti_image(np.ones((176, 256, 180), np.uint8), ONE_MM), tmp_path / "a.nii")])
    selection = select_series(study)
    assert selection.chosen == "volume: 1.00 x 1.00 x 1.00 mm, 176 x 256 x 180"
    assert any("neither was checked" in reason for reason in selection.candidates[0].reasons)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_are_refused_along_any_axis(tmp_path, axis):
    spacing = np.insert([1.0, 1.0], axis, 3.3)
    shape = tuple(int(size) for size in np.insert([200, 200], axis, 60))
    image = nifti_image(np.ones(shape, np.uint8), ras_affine(spacing))
    study = read_study([save(image, tmp_path / "a.nii")])
    with pytest.raises(InputRefused, match=r"^through_plane_too_coarse"):
        select_series(study)


def test_two_files_of_one_shape_get_labels_that_follow_their_content(tmp_path):
    one, two = head_like(seed=1), head_like(seed=2)
    for folder, (first, second) in {"a": (one, two), "b": (two, one)}.items():
        (tmp_path / folder).mkdir()
        save(nifti_image(first), tmp_path / folder / "1.nii")
        save(nifti_image(second), tmp_path / folder / "2.nii")
    studies = [read_study([tmp_path / folder]) for folder in ("a", "b")]
    labels = [[series.label for series in study.series] for study in studies]
    assert labels[0] == labels[1]
    assert len(set(labels[0])) == 2
    for label in labels[0]:
        first, second = (load_series(study, label) for study in studies)
        assert first.input_digest == second.input_digest


def test_a_dicom_series_is_preferred_to_a_nifti_file_beside_it(tmp_path):
    save(nifti_image(np.ones((176, 256, 180), np.uint8), ONE_MM), tmp_path / "a.nii")
    write_series(tmp_path / "dicom", head_like((60, 60, 60)), ras_affine((2.5, 2.5, 2.5)))
    assert select_series(read_study([tmp_path])).chosen.startswith("series 19")


def test_a_slope_that_leads_beyond_single_precision_gives_infinities_and_no_warning(tmp_path):
    image = nib.Nifti1Image(np.full((6, 7, 8), 300, np.int16), ONE_MM)
    image.header.set_slope_inter(3e38, 0)
    assert np.isinf(load_only(save(image, tmp_path / "a.nii")).volume.voxels).all()


@at_most(60)
@given(data=st.data())
def test_no_damage_to_a_header_escapes_as_anything_but_a_refusal(tmp_path_factory, data):
    path = save(nifti_image(head_like((6, 7, 8))), tmp_path_factory.mktemp("damaged") / "a.nii")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, 352))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(InputRefused):
        study = read_study([path])
        load_series(study, study.series[0].label)


@pytest.mark.realdata
def test_the_real_head_is_read_with_its_orientation(test_data):
    loaded = load_only(test_data / "nifti/head_with_mask/Scan1_T1.nii.gz")
    assert loaded.volume.shape == (176, 240, 256)
    assert loaded.volume.spacing_mm == pytest.approx((1.2, 1.0547, 1.0547), abs=1e-3)
    assert nib.aff2axcodes(loaded.volume.affine) == ("L", "P", "S")


@pytest.mark.realdata
def test_thick_flair_slices_are_refused_and_slices_of_three_millimetres_are_for_review(test_data):
    folder = test_data / "nifti/ms_longitudinal"
    with pytest.raises(InputRefused, match=r"^through_plane_too_coarse"):
        select_series(read_study([folder / "patient19/study1_FLAIR.nii.gz"]))
    selection = select_series(read_study([folder / "patient12/study1_T1W.nii.gz"]))
    assert "thick_slices" in {reason.code for reason in selection.review_reasons}


def test_voxels_announced_far_behind_the_header_are_refused(tmp_path):
    path = save(nifti_image(head_like(), ONE_MM), tmp_path / "a.nii")
    overwrite(path, 108, struct.pack("<f", 2e9))
    assert refusal_codes(path) == ("nifti_unreadable",) * 2
