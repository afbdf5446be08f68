import base64
import io
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from med3d_contract.pictures import BrainPictures, ReferenceCohort, reference_cohort_key
from med3d_pipeline.errors import InferenceError
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.outline_pictures import OUTLINE, outline_pictures
from med3d_pipeline.study.study import SeriesInstances
from med3d_pipeline.volume import Volume
from med3d_worker.heads.pictures import PictureStore, as_png, mask_on_images, publish_cohort, reference_cohort
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.preparing.preparation import StudyPreparation
from med3d_worker.stage_clock import StageClock
from rig.science.models import CannedPreprocessor, loaded_model, write_small_series
from rig.science.predictions import latent_space
from rig.service.stores import MemoryStore


def head_with_marks():
    """A box of a brain, 40 x 60 x 50 mm at 2 mm; brighter to the patient's right, to the front and to the top."""
    voxels = np.zeros((40, 50, 45), np.float32)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[10:30, 10:40, 10:35] = 1
    x, y, z = np.meshgrid(*(np.arange(size) for size in voxels.shape), indexing="ij")
    voxels[:] = mask * (100 + x + 2 * y + 3 * z)
    return Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), mask


def test_each_picture_shows_its_plane_in_the_radiological_view():
    pictures = {one.plane: one.pixels.astype(int) for one in outline_pictures(*head_with_marks())}
    assert set(pictures) == {"axial", "coronal", "sagittal"}
    # Grey values grow to the right, the front and the top, which lie at the left, at the top and at the top.
    for plane, brighter_side in (("axial", "left"), ("coronal", "left"), ("sagittal", "left")):
        pixels = pictures[plane]
        rows, columns = np.nonzero(pixels == OUTLINE)
        top, bottom, left, right = rows.min() + 2, rows.max() - 2, columns.min() + 2, columns.max() - 2
        middle_row, middle_column = (top + bottom) // 2, (left + right) // 2
        assert pixels[top, middle_column] > pixels[bottom, middle_column], plane
        assert pixels[middle_row, left] > pixels[middle_row, right], (plane, brighter_side)


@pytest.mark.parametrize("axes", ["RAS", "PIR", "LPS", "ASL"])
def test_the_mask_lies_on_the_images_as_they_were_read(axes):
    _, mask = head_with_marks()
    mask[10, 10, 10] = 0  # so that no two axes look alike
    ras = Volume(mask.astype(np.float32), np.diag([2.0, 2.0, 2.5, 1.0]))
    orientation = nib.orientations.axcodes2ornt(axes)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), orientation)
    voxels = nib.orientations.apply_orientation(ras.voxels, turn)
    read = Volume(voxels, ras.affine @ nib.orientations.inv_ornt_aff(turn, ras.shape))
    assert (to_closest_ras(read).voxels == ras.voxels).all()
    slices = SeriesInstances("1.1", "1.2", ("a",), tuple(map(str, range(read.shape[2]))), (1,) * read.shape[2], "1.9")
    made = mask_on_images(read, mask, slices)
    bits = np.frombuffer(zlib.decompress(base64.b64decode(made.packed_base64)), np.uint8)
    columns, rows, count = made.shape
    found = np.unpackbits(bits, count=columns * rows * count).reshape(count, rows, columns).transpose(2, 1, 0)
    assert (found == read.voxels).all()
    assert (np.array(made.affine) == read.affine).all()
    assert (made.slice_uids, made.slice_frames, made.frame_of_reference_uid) == (
        slices.slice_uids,
        slices.slice_frames,
        "1.9",
    )
    assert mask_on_images(read, mask, None) is None


def test_voxels_that_were_not_measured_are_black_and_change_no_other():
    head, mask = head_with_marks()
    voxels = head.voxels.copy()
    voxels[mask == 0] = np.nan
    for plain, holed in zip(
        outline_pictures(head, mask), outline_pictures(Volume(voxels, head.affine), mask), strict=True
    ):
        assert plain.pixels.shape == holed.pixels.shape
        assert not holed.pixels[0].any()


def test_the_outline_has_the_size_of_the_brain_in_millimetres():
    axial = outline_pictures(*head_with_marks())[0]
    rows, columns = np.nonzero(axial.pixels == OUTLINE)
    assert abs((np.ptp(rows) + 1) * axial.pixel_mm - 60) <= 2 * axial.pixel_mm
    assert abs((np.ptp(columns) + 1) * axial.pixel_mm - 40) <= 2 * axial.pixel_mm


def test_a_picture_shows_little_more_than_the_brain():
    axial = outline_pictures(*head_with_marks())[0]
    height, width = axial.pixels.shape
    assert height * axial.pixel_mm <= 60 + 2 * 10 + 4
    assert width * axial.pixel_mm <= 40 + 2 * 10 + 4


def test_a_mask_of_another_head_is_no_mask():
    head, mask = head_with_marks()
    with pytest.raises(InferenceError):
        outline_pictures(head, mask[1:])
    with pytest.raises(InferenceError):
        outline_pictures(head, np.zeros_like(mask))


def test_a_png_holds_the_grey_values_the_coloured_outline_and_no_text():
    picture = outline_pictures(*head_with_marks())[0]
    made = as_png(picture)
    image = Image.open(io.BytesIO(base64.b64decode(made.png_base64)))
    assert image.info.keys() <= {"transparency"}
    rgb = np.asarray(image.convert("RGB"))
    assert rgb.shape == (made.height, made.width, 3)
    outline = picture.pixels == OUTLINE
    assert {tuple(colour) for colour in rgb[outline]} == {(255, 170, 0)}
    np.testing.assert_array_equal(rgb[~outline][:, 0], picture.pixels[~outline])


def test_preparation_keeps_pictures_beside_the_tensor_and_finds_them_again(tmp_path):
    write_small_series(tmp_path / "series")
    store, preprocessor = MemoryStore(), CannedPreprocessor()
    prepare = StudyPreparation(loaded_model(preprocessor), TensorCache(store), PictureStore(store))

    def prepared():
        return prepare([tmp_path / "series"], chosen=None, clock=StageClock(), on_stage=lambda _: None)

    first, second = prepared(), prepared()
    assert preprocessor.calls == 1
    assert first.findings.pictures == second.findings.pictures
    kept = BrainPictures.model_validate_json(store.get(first.findings.pictures.key, first.findings.pictures.sha256))
    assert [one.plane for one in kept.pictures] == ["axial", "coronal", "sagittal"]
    store.objects[first.findings.pictures.key] = b"damaged"
    assert prepared().findings.pictures == first.findings.pictures
    assert preprocessor.calls == 2


def test_pictures_with_a_face_are_made_again_where_none_is_to_be_seen(tmp_path):
    write_small_series(tmp_path / "series")
    store, preprocessor = MemoryStore(), CannedPreprocessor()

    def kept(*, deface):
        pictures = PictureStore(store, deface=deface)
        prepare = StudyPreparation(loaded_model(preprocessor), TensorCache(store), pictures)
        made = prepare([tmp_path / "series"], chosen=None, clock=StageClock(), on_stage=lambda _: None)
        return BrainPictures.model_validate_json(store.get(made.findings.pictures.key))

    assert [kept(deface=deface).defaced for deface in (False, True, True, False)] == [False, True, True, True]
    assert preprocessor.calls == 2


def test_preparation_names_the_instances_that_it_read(tmp_path):
    write_small_series(tmp_path / "series")
    study = StudyPreparation(loaded_model())(
        [tmp_path / "series"], chosen=None, clock=StageClock(), on_stage=lambda _: None
    )
    assert len(study.findings.source.instance_uids) == len(list((tmp_path / "series").iterdir()))
    assert study.findings.source.sop_class_uid == "1.2.840.10008.5.1.4.1.1.4"


def test_the_cohort_is_published_once_with_what_was_estimated_for_each_subject_held_out():
    store = MemoryStore()
    cohort = reference_cohort("IXI", latent_space(subjects=3))
    publish_cohort(store, "b" * 64, cohort)
    publish_cohort(store, "b" * 64, cohort)
    found = ReferenceCohort.model_validate_json(store.get(reference_cohort_key("b" * 64)))
    assert found.ages == (20.0, 50.0, 80.0)
    assert found.brain_ages == (11.0, 50.0, 89.0), "age and residual"
    assert len(found.pls_age) == 3


def test_the_test_retest_error_that_a_bundle_states_goes_with_its_cohort_and_no_other_metric_does():
    stated = {"brain_age_within_subject_sd": 1.4, "brain_age_mae": 6.8, "sdmt_within_subject_sd": 0.0}
    assert reference_cohort("x", latent_space(), stated).within_subject_sd == {"brain_age": 1.4}
    assert reference_cohort("x", latent_space()).within_subject_sd == {}
