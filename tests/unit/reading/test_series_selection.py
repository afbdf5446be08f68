"""The choice among the series of a study, by rank and by hand."""

import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.mr_headers import NOT_T1_WEIGHTED, T1_WEIGHTED
from rig.dicom.series import head_like, ras_affine, save_all, slice_datasets, write_series
from rig.dicom.studies_on_disk import HEAD_AFFINE, HEAD_SHAPE, refusal_of_choice, study_with


def test_the_whole_exam_ends_in_its_mprage(tmp_path):
    study_with(tmp_path / "others", shape=(8, 9, 3), **NOT_T1_WEIGHTED)
    study_with(tmp_path / "scan", scan=T1_WEIGHTED["MPRAGE, Siemens 3 T"] | {"SeriesNumber": 99})
    selection = select_series(read_study([tmp_path]))
    assert selection.chosen.startswith("series 99: 3D T1w")
    assert sum(candidate.eligible for candidate in selection.candidates) == 1
    assert len(selection.candidates) == len(NOT_T1_WEIGHTED) + 1
    assert all(candidate.reasons for candidate in selection.candidates)


def test_secondary_captures_and_other_modalities_are_named(tmp_path):
    capture = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "MR"}
    tomography = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}
    assert refusal_of_choice(study_with(tmp_path / "a", scan=capture)).code == "secondary_capture"
    assert refusal_of_choice(study_with(tmp_path / "b", scan=tomography)).code == "not_mr"
    t2 = NOT_T1_WEIGHTED["T2 TSE"]
    assert refusal_of_choice(study_with(tmp_path / "c", ct=tomography, sc=capture, t2=t2)).code == "no_t1w_series"


def test_the_finer_of_two_scans_is_preferred(tmp_path):
    write_series(tmp_path / "a", head_like((50, 50, 50)), ras_affine((2.5, 2.5, 2.5)), series="a", SeriesNumber=1)
    write_series(tmp_path / "b", head_like((75, 75, 75)), ras_affine((2, 2, 2)), series="b", SeriesNumber=2)
    assert select_series(read_study([tmp_path])).chosen.startswith("series 2:")


def test_a_faulty_better_series_is_told_when_another_one_is_taken(tmp_path):
    broken = slice_datasets(head_like((75, 75, 75)), ras_affine((2, 2, 2)), series="a", SeriesNumber=1)
    save_all(tmp_path / "a", broken[:30] + broken[31:])
    write_series(tmp_path / "b", head_like((50, 50, 50)), ras_affine((2.5, 2.5, 2.5)), series="b", SeriesNumber=2)
    selection = select_series(read_study([tmp_path]))
    assert selection.chosen.startswith("series 2:")
    (reason,) = (reason for reason in selection.review_reasons if reason.code != "thick_slices")
    assert reason.code == "other_series_damaged"
    assert "missing_slices" in reason.sentence


def test_equal_scans_tie_and_the_lower_series_number_is_taken(tmp_path):
    study = study_with(tmp_path, b={}, a={})
    selection = select_series(study)
    assert selection.chosen.startswith("series 1:")
    (reason,) = (reason for reason in selection.review_reasons if reason.code != "thick_slices")
    assert reason.code == "series_tie"
    assert "2 series are equally suitable" in reason.sentence


def test_series_that_share_number_and_geometry_get_labels_that_follow_content_not_names(tmp_path):
    first = slice_datasets(head_like(HEAD_SHAPE, 1), HEAD_AFFINE, series="one")
    second = slice_datasets(head_like(HEAD_SHAPE, 2), HEAD_AFFINE, series="two")
    save_all(tmp_path / "x", first, prefix="a")
    save_all(tmp_path / "x", second, prefix="b")
    save_all(tmp_path / "y", first, prefix="b")
    save_all(tmp_path / "y", second, prefix="a")
    studies = [read_study([tmp_path / folder]) for folder in ("x", "y")]
    for one, other in zip(studies[0].series, studies[1].series, strict=True):
        assert one.label == other.label
        assert one.source[0].uid == other.source[0].uid


def test_a_series_chosen_by_hand_is_taken_and_reviewed(tmp_path):
    study = study_with(tmp_path, t1={}, t2=NOT_T1_WEIGHTED["T2 SPACE"])
    label = study.series[1].label
    selection = select_series(study, label)
    assert selection.chosen == label
    assert {"chosen_by_hand", "not_eligible"} <= {reason.code for reason in selection.review_reasons}
    assert any("no_t1w_series" in reason.sentence for reason in selection.review_reasons)


@pytest.fixture(scope="module")
def series_6_and_7(tmp_path_factory):
    seven = {"SeriesNumber": 7, "SeriesInstanceUID": "1.2.826.0.1.9"}
    return study_with(tmp_path_factory.mktemp("study"), shape=(50, 50, 50), a={"SeriesNumber": 6}, b=seven)


@pytest.mark.parametrize(
    "said", ["7", "07", "Series 7", "1.2.826.0.1.9", " SERIES  7: 3d  T1W 2.50 x 2.50 x 2.50 mm, 50 slices "]
)
def test_a_series_is_named_by_number_uid_or_label_in_either_case(series_6_and_7, said):
    chosen = select_series(series_6_and_7, said).chosen
    assert chosen.startswith("series 7: 3D T1w")
    assert load_series(series_6_and_7, chosen).instances.series_uid == "1.2.826.0.1.9"


def test_of_volumes_that_share_a_number_the_best_is_meant(tmp_path):
    first, second = ({"SeriesNumber": 4, "EchoNumbers": number, "EchoTime": 3 * number} for number in (1, 2))
    study = study_with(tmp_path, a=second, b=first)
    assert select_series(study, "4").chosen == select_series(study).chosen


def test_what_the_headers_say_is_overruled_by_hand_but_no_missing_volume(tmp_path):
    write_series(tmp_path / "a", head_like((40, 40, 20)), ras_affine((4, 4, 8)), SeriesNumber=1, series="a")
    tomography = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "SeriesNumber": 2}
    study_with(tmp_path, ct=tomography)
    study = read_study([tmp_path])
    for number, code in (("1", "through_plane_too_coarse"), ("2", "not_mr")):
        selection = select_series(study, number)
        assert selection.chosen.startswith(f"series {number}:")
        assert any(code in reason.sentence for reason in selection.review_reasons)
        assert load_series(study, selection.chosen).volume.shape


def test_a_label_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    study = study_with(tmp_path, t1={})
    with pytest.raises(InputRefused) as refused:
        select_series(study, "series 99: whatever")
    assert refused.value.code == "unknown_series"
    assert [candidate["label"] for candidate in refused.value.details["candidates"]] == [study.series[0].label]


@pytest.mark.parametrize(
    ("header", "spacing_mm", "code"),
    [
        (NOT_T1_WEIGHTED["three-dimensional scout, Siemens 3 T"], (2.5, 2.5, 2.5), "no_t1w_series"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, (2.5, 2.5, 2.5), "derived_only"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, (2.5, 2.5, 2.5), "secondary_capture"),
        ({"Modality": "OT"}, (2.5, 2.5, 2.5), "not_mr"),
        ({}, (2.5, 2.5, 5), "through_plane_too_coarse"),
        ({}, (4, 4, 3), "in_plane_too_coarse"),
        ({}, (2.5, 2.5, 2), "insufficient_coverage"),
    ],
)
def test_a_choice_by_hand_overrules_what_headers_and_sizes_speak_against(tmp_path, header, spacing_mm, code):
    write_series(tmp_path, head_like(HEAD_SHAPE), ras_affine(spacing_mm), **header)
    study = read_study([tmp_path])
    assert refusal_of_choice(study).code == code
    selection = select_series(study, study.series[0].label)
    assert any(code in reason.sentence for reason in selection.review_reasons)


def test_a_choice_by_hand_does_not_mend_broken_geometry(tmp_path):
    datasets = slice_datasets(head_like(HEAD_SHAPE), HEAD_AFFINE)
    save_all(tmp_path, datasets[:10] + datasets[11:])
    study = read_study([tmp_path])
    with pytest.raises(InputRefused, match=r"^missing_slices"):
        select_series(study, study.series[0].label)
