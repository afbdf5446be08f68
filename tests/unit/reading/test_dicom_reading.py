import random
import struct
from base64 import b64decode
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.series import (
    head_like,
    ras_affine,
    save_all,
    set_pixels,
    slice_datasets,
    write_series,
)
from rig.dicom.studies_on_disk import load_only, refusal_of_reading
from rig.examples import at_most

SHAPE = (16, 18, 12)
HTJ2K_8_BY_8 = (  # row + 9 column, modulo 200, + 100; by OpenJPH 0.26
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAEwAAf+TwAAlBwUHdAAAAMAAEsAAEoDQAId0APgAR3QAwAATQAASAMb8AAJ0"
    "APoHUwDAACeAAEoAAKCnwnUA8MA6lAD/2Q=="
)
AFFINE = ras_affine((1.0, 1.25, 1.5), (-20.0, 10.0, 35.0))


axes_of_rows_columns_slices = st.tuples(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))


@at_most(25)
@given(turn=axes_of_rows_columns_slices, seed=st.integers(0, 99), tilt=st.floats(-0.5, 0.5))
def test_what_is_written_in_any_orientation_is_read_back(tmp_path_factory, turn, seed, tilt):
    permutation, signs = turn
    rotate = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    axes = rotate @ np.eye(3)[:, permutation] * np.array(signs)
    affine = ras_affine((0.9, 1.1, 1.3), (3, -70, 12), axes)
    voxels = head_like(SHAPE, seed)
    loaded = load_only(*write_series(tmp_path_factory.mktemp("series"), voxels, affine))
    flipped = np.linalg.det(axes) < 0  # slices are ordered so that the voxel axes are right-handed
    found = loaded.volume.voxels[:, :, ::-1] if flipped else loaded.volume.voxels
    np.testing.assert_array_equal(found, voxels)
    corner = loaded.volume.affine @ [0, 0, SHAPE[2] - 1 if flipped else 0, 1]
    np.testing.assert_allclose(corner[:3], affine[:3, 3], atol=1e-5)
    np.testing.assert_allclose(loaded.volume.spacing_mm, (0.9, 1.1, 1.3), atol=1e-6)


def test_file_names_and_their_order_change_neither_volume_nor_digest(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    first = load_only(*save_all(tmp_path / "a", datasets))
    random.Random(3).shuffle(datasets)
    second = load_only(*save_all(tmp_path / "b", datasets, prefix="other"))
    np.testing.assert_array_equal(first.volume.voxels, second.volume.voxels)
    np.testing.assert_array_equal(first.volume.affine, second.volume.affine)
    assert first.input_digest == second.input_digest


def test_the_digest_changes_with_one_voxel(tmp_path):
    voxels = head_like(SHAPE)
    first = load_only(*write_series(tmp_path / "a", voxels, AFFINE))
    voxels[3, 3, 3] += 1
    assert load_only(*write_series(tmp_path / "b", voxels, AFFINE)).input_digest != first.input_digest


def test_the_digest_leaves_preamble_and_file_meta_out(tmp_path):
    paths = write_series(tmp_path / "a", head_like(SHAPE), AFFINE)
    first = load_only(*paths)
    for path in paths:
        path.write_bytes(b"\x01" * 128 + path.read_bytes()[128:])
    assert load_only(*paths).input_digest == first.input_digest


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_uncompressed_transfer_syntax_is_read(tmp_path, syntax):
    voxels = head_like(SHAPE)
    paths = []
    for index, dataset in enumerate(slice_datasets(voxels, AFFINE)):
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        paths.append(tmp_path / f"{index}")
        dataset.save_as(paths[-1], enforce_file_format=True)
    np.testing.assert_array_equal(load_only(*paths).volume.voxels, voxels)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_lossless_compression_is_read(tmp_path, syntax):
    voxels = head_like((32, 48, 5))
    datasets = slice_datasets(voxels, AFFINE)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, datasets)).volume.voxels, voxels)


def test_high_throughput_jpeg_2000_is_read(tmp_path):
    datasets = slice_datasets(head_like((8, 8, 5)), AFFINE)
    for dataset in datasets:
        dataset.Rows = dataset.Columns = 8
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = encapsulate([b64decode(HTJ2K_8_BY_8)])
        dataset["PixelData"].VR = "OB"
    voxels = load_only(*save_all(tmp_path, datasets)).volume.voxels
    rows_and_columns = np.add.outer(np.arange(8), np.arange(8) * 9) % 200 + 100
    np.testing.assert_array_equal(voxels, np.dstack([rows_and_columns.T] * 5))


@pytest.mark.parametrize("prefix_bytes", [132, "whole file meta"])
def test_files_without_preamble_or_even_file_meta_and_without_extension_are_read(tmp_path, prefix_bytes):
    voxels = head_like(SHAPE)
    for index, dataset in enumerate(slice_datasets(voxels, AFFINE)):
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        path = tmp_path / f"IM{index}"
        dataset.save_as(path, enforce_file_format=True)
        data = path.read_bytes()
        if prefix_bytes == 132:
            data = data[132:]
        else:
            meta_bytes = struct.unpack("<I", data[140:144])[0]
            data = data[144 + meta_bytes :]
        path.write_bytes(data)
    np.testing.assert_array_equal(load_only(tmp_path).volume.voxels, voxels)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_every_integer_type_keeps_its_values(tmp_path, dtype):
    voxels = head_like(SHAPE).astype(np.int32) - (150 if dtype.startswith("int") else 0)
    voxels = np.clip(voxels, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    loaded = load_only(*write_series(tmp_path, voxels, AFFINE))
    np.testing.assert_array_equal(loaded.volume.voxels, voxels.astype(np.float32))


def test_overlay_bits_above_the_stored_bits_are_not_signal(tmp_path):
    voxels = head_like(SHAPE)
    datasets = slice_datasets(voxels | np.uint16(0xF000), AFFINE, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, datasets)).volume.voxels, voxels)


def test_values_in_the_upper_bits_of_the_word_are_read_from_there(tmp_path):
    voxels = head_like(SHAPE)
    assert voxels.max() < 2**12
    datasets = slice_datasets(voxels << np.uint16(4), AFFINE, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(load_only(*save_all(tmp_path, datasets)).volume.voxels, voxels)


def test_a_slope_of_zero_is_none_stated(tmp_path):
    voxels = head_like(SHAPE)
    paths = save_all(tmp_path, slice_datasets(voxels, AFFINE, RescaleSlope=0, RescaleIntercept=0))
    assert np.ptp(load_only(*paths).volume.voxels) == np.ptp(voxels)


def test_a_classic_image_of_many_frames_places_none_of_them(tmp_path):
    voxels = head_like(SHAPE)
    dataset = slice_datasets(voxels, AFFINE)[0]
    dataset.NumberOfFrames = SHAPE[2]
    dataset.PixelData = voxels.transpose(2, 1, 0).astype("<u2").tobytes()
    assert refusal_of_reading(*save_all(tmp_path, [dataset])) == "invalid_geometry"


def test_each_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path):
    voxels = head_like(SHAPE)
    datasets = slice_datasets(voxels, AFFINE)
    for index, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + index, -10 * index
    expected = voxels.astype(np.float32) * (1 + np.arange(SHAPE[2])) - 10 * np.arange(SHAPE[2])
    np.testing.assert_allclose(load_only(*save_all(tmp_path, datasets)).volume.voxels, expected)


def test_monochrome1_is_turned_the_usual_way_round(tmp_path):
    voxels = head_like(SHAPE).astype("uint8")
    loaded = load_only(*write_series(tmp_path, 255 - voxels, AFFINE, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(loaded.volume.voxels, voxels)


def test_colour_is_refused(tmp_path):
    datasets = slice_datasets(head_like(SHAPE).astype("uint8"), AFFINE)
    for dataset in datasets:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.PixelData = dataset.PixelData * 3
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "unsupported_colour"
    with pytest.raises(InputRefused, match=r"^unsupported_colour"):
        select_series(read_study([tmp_path]))


def test_images_without_pixel_data_are_refused(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    for dataset in datasets:
        del dataset.PixelData
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "no_pixel_data"


@pytest.mark.parametrize("kept", [0.6, 0.9, 0.999])
def test_a_file_cut_in_its_pixel_data_is_refused_before_any_pixel_is_read(tmp_path, kept):
    paths = write_series(tmp_path, head_like((64, 64, 6)), AFFINE)
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[: int(len(data) * kept)])
    assert refusal_of_reading(tmp_path) == "truncated_pixel_data"
    with pytest.raises(InputRefused, match=r"^truncated_pixel_data"):
        select_series(read_study([tmp_path]))


def test_pixel_data_shorter_than_rows_and_columns_call_for_is_truncated(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    datasets[4].PixelData = datasets[4].PixelData[:-100]
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "truncated_pixel_data"


def test_compressed_pixel_data_without_its_end_is_truncated(tmp_path):
    datasets = slice_datasets(head_like((64, 64, 5)), AFFINE)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    paths = save_all(tmp_path, datasets)
    data = paths[0].read_bytes()
    paths[0].write_bytes(data[:-200])
    assert refusal_of_reading(tmp_path) == "truncated_pixel_data"


def test_damaged_compressed_pixels_are_refused_not_crashed_on(tmp_path):
    datasets = slice_datasets(head_like((64, 64, 5)), AFFINE)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    paths = save_all(tmp_path, datasets)
    data = bytearray(paths[1].read_bytes())
    start = data.index(b"\xfe\xff\x00\xe0", data.index(b"\xe0\x7f\x10\x00") + 20) + 8
    data[start : start + 400] = b"\xff" * 400
    paths[1].write_bytes(data)
    assert refusal_of_reading(tmp_path) == "undecodable_pixel_data"


def test_clutter_is_ignored_and_counted_and_broken_dicom_is_counted_apart(tmp_path):
    write_series(tmp_path / "deep" / "er", head_like(SHAPE), AFFINE)
    (tmp_path / "notes.txt").write_text("Anna was here")
    (tmp_path / "empty").touch()
    (tmp_path / "deep" / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(400))
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x05\x00CS\x00")
    study = read_study([tmp_path])
    assert len(study.series) == 1
    assert study.ignored_files == 3
    assert study.unreadable_files == 1


def test_reports_and_directories_are_no_images(tmp_path):
    (dataset,) = slice_datasets(head_like((4, 4, 1)), AFFINE)
    for keyword in ("Rows", "Columns", "PixelData", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(dataset, keyword)
    dataset.Modality, dataset.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.11"
    save_all(tmp_path, [dataset])
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    dataset.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(InputRefused) as refused:
        read_study([tmp_path])
    assert refused.value.code == "no_images"
    assert refused.value.details["ignored_files"] == 2
    assert "it only lists the files of a disc. Send the whole disc" in refused.value.reason
    (tmp_path / "preview.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputRefused, match=r"^unsupported_format: .*picture"):
        read_study([tmp_path / "DICOMDIR"])


def test_nothing_but_broken_dicom_is_an_unreadable_file(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 30)
    with pytest.raises(InputRefused, match=r"^unreadable_file"):
        read_study([tmp_path])


def test_an_empty_folder_holds_no_images(tmp_path):
    with pytest.raises(InputRefused, match=r"^no_images"):
        read_study([tmp_path])


def test_a_path_that_does_not_exist_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_study([tmp_path / "nothing"])


@at_most(60)
@given(data=st.data())
def test_no_damage_to_a_header_escapes_as_anything_but_a_refusal(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    paths = write_series(folder, head_like((8, 8, 4)), AFFINE)
    content = bytearray(paths[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 30))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    paths[0].write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(InputRefused):
        study = read_study([folder])
        for series in study.series:
            load_series(study, series.label)


def test_two_echoes_in_one_classic_series_are_two_volumes(tmp_path):
    first, second = head_like(SHAPE, seed=1), head_like(SHAPE, seed=2)
    early = slice_datasets(first, AFFINE, EchoTime=2.1, EchoNumbers=1)
    late = slice_datasets(second, AFFINE, EchoTime=7.9, EchoNumbers=2)
    for index, dataset in enumerate(late):
        dataset.SOPInstanceUID = f"1.2.3.{index}"
    save_all(tmp_path, [*early, *late])
    study = read_study([tmp_path])
    loaded = [load_series(study, series.label).volume.voxels for series in study.series]
    np.testing.assert_array_equal(loaded[0], first)
    np.testing.assert_array_equal(loaded[1], second)


def test_an_absurd_size_is_refused_before_memory_is_asked_for(tmp_path):
    datasets = slice_datasets(head_like((4, 4, 4)), AFFINE)
    for dataset in datasets:
        dataset.Rows = dataset.Columns = 60000
    study = read_study(save_all(tmp_path, datasets))
    with pytest.raises(InputRefused) as refused:
        load_series(study, study.series[0].label)
    assert refused.value.code in {"too_large", "truncated_pixel_data"}


def test_the_attributes_for_the_age_are_handed_on_as_they_are(tmp_path):
    loaded = load_only(
        *write_series(
            tmp_path, head_like(SHAPE), AFFINE,
            PatientBirthDate="19700102", StudyDate="20200304", PatientAge="050Y", PatientSex="F",
        )
    )  # fmt: skip
    (patient,) = loaded.patients
    assert patient.birth_date == "19700102"
    assert patient.study_date == "20200304"
    assert patient.patient_age == "050Y"
    assert patient.sex == "F"


def test_no_word_of_the_sender_reaches_labels_reasons_or_acquisition(tmp_path):
    secret = "Mustermann"
    write_series(
        tmp_path / secret, head_like(SHAPE), AFFINE,
        PatientName=secret, PatientID=secret, SeriesDescription=f"t1 {secret}", ProtocolName=secret,
        StudyDescription=secret, InstitutionName=secret, AccessionNumber=secret,
    )  # fmt: skip
    study = read_study([tmp_path])
    (series,) = study.series
    loaded = load_series(study, series.label)
    said = f"{series.label} {series.appraisal} {loaded.acquisition}"
    assert secret.lower() not in said.lower()
    assert str(series.source[0].series_uid) not in said


def test_slices_of_another_orientation_in_the_same_series_are_refused_not_mixed_in(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    datasets[3].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    set_pixels(datasets[3], head_like(SHAPE)[:, :, 3])
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "mixed_orientation"
