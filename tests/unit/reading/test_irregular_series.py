"""Series that hold more than one volume's slices: other acquisitions, foreign slices, copies, a UID per slice."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, generate_uid
from scipy.ndimage import zoom

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.series import head_like, ras_affine, save_all, set_pixels, slice_datasets
from rig.dicom.studies_on_disk import load_only, refusal_of_reading

SHAPE = (40, 44, 36)
AFFINE = ras_affine((2.5, 2.5, 3), (-50, -55, -54))


def fresh(datasets: list[Dataset]) -> list[Dataset]:
    """The same images as instances of their own."""
    for dataset in datasets:
        dataset.SOPInstanceUID = generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return datasets


def numbered(datasets: list[Dataset], start: int = 1) -> list[Dataset]:
    for index, dataset in enumerate(datasets):
        dataset.InstanceNumber = start + index
    return datasets


def two_acquisitions(
    shift: float, moved: int = 3, shape: tuple[int, int, int] = SHAPE, **marks: tuple[object, object]
) -> list[Dataset]:
    """Two volumes in one series, the second ``shift`` of a slice further; ``marks`` are an element's two values."""
    first, second = ({name: values[which] for name, values in marks.items()} for which in (0, 1))
    further = AFFINE.copy()
    further[:3, 3] += shift * AFFINE[:3, 2]
    header = {"SliceThickness": 3}
    voxels = head_like(shape)
    return [
        *slice_datasets(voxels, AFFINE, **header | first),
        *fresh(slice_datasets(np.roll(voxels, moved, axis=1), further, **header | second)),
    ]


@pytest.mark.parametrize("shift", [0.5, 0.25, 0.0])
@pytest.mark.parametrize(
    "marks",
    [
        {"AcquisitionNumber": (1, 2)},
        {"TemporalPositionIdentifier": (1, 2)},
        {"TriggerTime": (0.0, 1250.5)},
        {"EchoTime": (2.1, 4.8)},
    ],
    ids=lambda marks: next(iter(marks)),
)
def test_two_acquisitions_that_lie_between_one_another_are_two_volumes(tmp_path, shift, marks):
    shape = (40, 44, 12)
    study = read_study(save_all(tmp_path, two_acquisitions(shift, shape=shape, **marks)))
    assert [load_series(study, series.label).volume.shape for series in study.series] == [shape, shape]


@pytest.mark.parametrize("uid", ["series", None], ids=["one UID", "no UID"])
def test_two_numbers_under_one_series_uid_are_two_series(tmp_path, uid):
    datasets = two_acquisitions(0.0, SeriesNumber=(5, 6))
    for dataset in datasets:
        if uid is None:
            del dataset.SeriesInstanceUID
    study = read_study(save_all(tmp_path, datasets))
    assert [series.series_number for series in study.series] == [5, 6]
    assert "series_tie" in {reason.code for reason in select_series(study).review_reasons}


def test_an_acquisition_number_per_slice_does_not_hide_the_temporal_position(tmp_path):
    datasets = two_acquisitions(0.5, TemporalPositionIdentifier=(1, 2))
    for index, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = index
    assert len(read_study(save_all(tmp_path, datasets)).series) == 2


@pytest.mark.parametrize("moved", [3, 0])
def test_half_slices_that_nothing_tells_apart_are_refused_by_their_voxels(tmp_path, moved):
    datasets = two_acquisitions(0.5, moved)
    for dataset in datasets:
        dataset.InstanceNumber = None
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "several_acquisitions"


def test_half_slices_are_seen_in_the_voxels_whatever_thickness_is_stated(tmp_path):
    datasets = two_acquisitions(0.5, moved=3, SliceThickness=(1.5, 1.5))
    in_space = sorted(datasets, key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    numbered(in_space)
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "several_acquisitions"


@pytest.mark.parametrize("second_from", [1, 37])
def test_half_slices_that_are_numbered_as_two_runs_are_refused(tmp_path, second_from):
    datasets = two_acquisitions(0.5, moved=0)
    numbered(datasets[:36])
    numbered(datasets[36:], second_from)
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "several_acquisitions"


def test_a_stated_spacing_of_twice_the_step_is_two_acquisitions(tmp_path):
    datasets = two_acquisitions(0.5, moved=0, SpacingBetweenSlices=(3, 3))
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "several_acquisitions"


def test_slices_interpolated_to_half_their_thickness_are_one_volume(tmp_path):
    affine = ras_affine((3, 3, 1.5), (-54, -60, -54))
    smooth = zoom(head_like(SHAPE).astype(float), (1, 1, 2), order=1).astype("uint16")
    datasets = numbered(slice_datasets(smooth, affine, SliceThickness=3, SpacingBetweenSlices=1.5, AcquisitionNumber=1))
    assert load_only(*save_all(tmp_path, datasets)).volume.shape == (40, 44, 72)


def test_the_passes_of_an_interleaved_2d_acquisition_stay_one_volume(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE, MRAcquisitionType="2D", SliceThickness=2.7)
    for index, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = 1 + index % 2
        dataset.InstanceNumber = 1 + index // 2 + 18 * (index % 2)
    assert load_only(*save_all(tmp_path, datasets)).volume.shape == SHAPE


def localizers(count: int) -> list[Dataset]:
    datasets = fresh(slice_datasets(head_like((40, 44, 36), 3), AFFINE))[:count]
    for index, dataset in enumerate(datasets):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [10 * index, -50, 50]
    return datasets


def reference_slice(**header: object) -> list[Dataset]:
    (dataset,) = fresh(slice_datasets(head_like((40, 44, 1)), AFFINE, **header))
    return [dataset]


def other_matrix() -> list[Dataset]:
    (dataset,) = reference_slice()
    set_pixels(dataset, np.zeros((80, 80), "uint16"))
    dataset.PixelSpacing = [1.5, 1.5]
    return [dataset]


def without_place() -> list[Dataset]:
    (dataset,) = reference_slice()
    del dataset.ImagePositionPatient
    return [dataset]


@pytest.mark.parametrize(
    ("extra", "count", "words"),
    [
        (localizers(3), 3, "face another way"),
        (localizers(1), 1, "face another way"),
        (other_matrix(), 1, "another matrix"),
        (without_place(), 1, "face another way"),
        (reference_slice(SliceThickness=5), 1, "other parameters"),
        (reference_slice(SliceThickness=3, AcquisitionNumber=9), 1, "another acquisition"),
        ([*localizers(4), *other_matrix()], 5, "face another way or have another matrix"),
    ],
    ids=["3 localizers", "1 localizer", "matrix", "no place", "thickness", "acquisition", "both"],
)
def test_foreign_slices_are_left_out_and_counted(tmp_path, extra, count, words):
    own = slice_datasets(head_like(SHAPE), AFFINE, SliceThickness=3, AcquisitionNumber=1)
    alone = load_only(*save_all(tmp_path / "alone", own))
    save_all(tmp_path / "mixed", own)
    save_all(tmp_path / "mixed", extra, prefix="extra")
    selection = select_series(read_study([tmp_path / "mixed"]))
    assert load_only(tmp_path / "mixed").input_digest == alone.input_digest
    (remark,) = [reason.sentence for reason in selection.review_reasons if reason.code == "foreign_slices"]
    assert f"{count} slice" in remark
    assert words in remark


@pytest.mark.parametrize(("own", "foreign"), [(15, 1), (36, 20)])
def test_where_no_stack_stands_out_the_series_is_refused(tmp_path, own, foreign):
    others = [dataset for _ in range(foreign) for dataset in other_matrix()]
    datasets = [*slice_datasets(head_like(SHAPE), AFFINE)[:own], *others]
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "mixed_size"


def halved(first: dict[str, object], second: dict[str, object], at: int = 18) -> list[Dataset]:
    """One volume by its places; slices before and from ``at`` state other things of themselves."""
    voxels = head_like(SHAPE)
    own, other = slice_datasets(voxels, AFFINE, **first), slice_datasets(voxels, AFFINE, **second)
    return [*own[:at], *other[at:]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"PatientSex": "M"}, {"PatientSex": "F"}),
        ({"PatientBirthDate": "19701112"}, {"PatientBirthDate": "19430202"}),
    ],
    ids=["sex", "birth"],
)
@pytest.mark.parametrize("at", [18, 35])
def test_slices_of_one_series_with_another_sex_or_date_of_birth_are_of_two_people(tmp_path, first, second, at):
    datasets = halved(first | {"PatientID": "P"}, second | {"PatientID": "P"}, at)
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "several_patients"


OTHER_SCANS = [
    ({"FrameOfReferenceUID": "1.2.3.1"}, {"FrameOfReferenceUID": "1.2.3.2"}),
    ({"FrameOfReferenceUID": "1.2.3.1"}, {"FrameOfReferenceUID": "1.2.3.1", "StudyInstanceUID": "1.2.3.9"}),
    ({"EchoTime": 2.98, "RepetitionTime": 2300}, {"EchoTime": 100, "RepetitionTime": 5000}),
    ({"FlipAngle": 9}, {"FlipAngle": 30}),
]


@pytest.mark.parametrize(("first", "second"), OTHER_SCANS, ids=["frame", "study", "timing", "angle"])
def test_a_series_that_is_half_of_another_scan_is_refused_though_its_places_fit(tmp_path, first, second):
    with pytest.raises(InputRefused) as refused:
        select_series(read_study(save_all(tmp_path, halved(first, second))))
    assert refused.value.code == "several_acquisitions"


@pytest.mark.parametrize(("first", "second"), OTHER_SCANS, ids=["frame", "study", "timing", "angle"])
def test_a_few_slices_of_another_scan_at_the_end_are_left_out(tmp_path, first, second):
    selection = select_series(read_study(save_all(tmp_path, halved(first, second, at=34))))
    (remark,) = [reason.sentence for reason in selection.review_reasons if reason.code == "foreign_slices"]
    assert remark.startswith("2 slices were left out of 36")


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_a_uid_for_each_slice_by_a_de_identifier_parts_nothing(tmp_path, keyword):
    datasets = slice_datasets(head_like(SHAPE), AFFINE, FrameOfReferenceUID="1.2.3")
    for dataset in datasets:
        setattr(dataset, keyword, generate_uid())
    assert load_only(*save_all(tmp_path, datasets)).volume.shape == SHAPE


def test_a_repetition_time_that_varies_a_little_parts_nothing(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    for index, dataset in enumerate(datasets):
        dataset.RepetitionTime = 2300 + 5 * (index % 7)
    assert load_only(*save_all(tmp_path, datasets)).volume.shape == SHAPE


def test_a_slice_whose_absence_leaves_a_gap_is_not_left_out(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    datasets[17].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    assert refusal_of_reading(*save_all(tmp_path, datasets)) == "mixed_orientation"


def copied(paths: list[Path]) -> None:
    for path in paths:
        path.with_name(f"{path.stem}(1).dcm").write_bytes(path.read_bytes())


@pytest.mark.parametrize("uid", [True, False], ids=["with UIDs", "without"])
@pytest.mark.parametrize("which", [slice(None), slice(20, 21)], ids=["all", "one"])
def test_copies_of_files_are_left_out_and_said(tmp_path, which, uid):
    datasets = slice_datasets(head_like(SHAPE), AFFINE, **({} if uid else {"SOPInstanceUID": None}))
    paths = save_all(tmp_path, datasets)
    alone = load_only(*paths)
    copied(paths[which])
    both = load_only(tmp_path)
    assert both.input_digest == alone.input_digest
    assert np.array_equal(both.volume.voxels, alone.volume.voxels)
    selection = select_series(read_study([tmp_path]))
    assert f"{len(paths[which])} copies of its images were left out" in selection.candidates[0].reasons
    assert {reason.code for reason in selection.review_reasons} <= {"thick_slices"}, "as of the head alone"


def test_an_instance_sent_compressed_and_not_is_one(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    save_all(tmp_path / "plain", datasets)
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    save_all(tmp_path / "packed", datasets)
    assert load_only(tmp_path).volume.shape == SHAPE


def test_one_uid_for_two_different_images_is_no_copy(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    save_all(tmp_path, datasets)
    set_pixels(datasets[7], np.zeros((40, 44), "uint16"))
    save_all(tmp_path, datasets[7:8], prefix="other")
    assert refusal_of_reading(tmp_path) == "duplicate_slices"


@pytest.mark.parametrize("study_uid", [False, True], ids=["one study", "a study per slice"])
def test_slices_with_a_series_each_are_read_as_the_volume_that_they_form(tmp_path, study_uid):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    alone = load_only(*save_all(tmp_path / "a", datasets))
    for dataset in datasets:
        dataset.SeriesInstanceUID = generate_uid()
        if study_uid:
            dataset.StudyInstanceUID = generate_uid()
    study = read_study(save_all(tmp_path / "b", datasets))
    selection = select_series(study)
    assert np.array_equal(load_series(study, selection.chosen).volume.voxels, alone.volume.voxels)
    assert "series_by_geometry" in {reason.code for reason in selection.review_reasons}


def test_slices_with_a_series_each_that_form_no_volume_are_refused_as_such(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    del datasets[5]
    for dataset in datasets:
        dataset.SeriesInstanceUID = generate_uid()
    study = read_study(save_all(tmp_path, datasets))
    (series,) = study.series
    assert series.appraisal.fault is not None
    assert series.appraisal.fault.code == "series_uid_per_slice"


def test_single_images_of_several_series_stay_apart(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    for index, dataset in enumerate(datasets):
        dataset.SeriesInstanceUID, dataset.SeriesNumber = generate_uid(), index
    assert len(read_study(save_all(tmp_path, datasets)).series) == 36
