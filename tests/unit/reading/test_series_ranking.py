"""Synthetic headers as scanners of several makers write them, through the files, the reader and the choice."""

import pytest

from factories.dicom_series import head_like, ras_affine, save_all, slice_datasets, write_enhanced, write_series
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study import read_study, select_series

SHAPE = (36, 40, 36)
AFFINE = ras_affine((3, 3, 3), (-54, -60, -54))  # just fine enough, and just wide enough

SIEMENS = {"Manufacturer": "SIEMENS"}
GE = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
PHILIPS = {"Manufacturer": "Philips", "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}
SPIN = {"ScanningSequence": "SE", "SequenceVariant": "SK", "InversionTime": None, "FlipAngle": 90}
INVERTED_SPIN = {"ScanningSequence": ["SE", "IR"], "SequenceVariant": ["SK", "SP", "MP"], "FlipAngle": 120}
GRADIENT = {"ScanningSequence": "GR", "SequenceVariant": "SP", "InversionTime": None}

T1_WEIGHTED = {
    "MPRAGE, Siemens 3 T": SIEMENS | {"RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900},
    "MPRAGE, Siemens 1.5 T": SIEMENS
    | {"RepetitionTime": 1900, "EchoTime": 3.9, "InversionTime": 1100, "FlipAngle": 15, "MagneticFieldStrength": 1.5},
    "MPRAGE, Siemens 7 T": SIEMENS
    | {"RepetitionTime": 2600, "EchoTime": 2.5, "InversionTime": 1100, "FlipAngle": 5, "MagneticFieldStrength": 7},
    "IR-SPGR, GE": GE
    | {
        "ScanningSequence": "GR", "SequenceVariant": ["SS", "SP", "SK"], "RepetitionTime": 7.3, "EchoTime": 3.0,
        "InversionTime": 400, "FlipAngle": 11,
    },
    "SPGR without inversion, GE": GE | GRADIENT | {"RepetitionTime": 8, "EchoTime": 3.2, "FlipAngle": 15},
    "T1-TFE without stated inversion, Philips": PHILIPS
    | GRADIENT | {"SequenceVariant": "MP", "RepetitionTime": 8.1, "EchoTime": 3.7, "FlipAngle": 8},
    "T1-FFE of older scanners": PHILIPS
    | GRADIENT | {"RepetitionTime": 25, "EchoTime": 4.6, "FlipAngle": 30, "MagneticFieldStrength": 1.5},
    "VIBE": SIEMENS | GRADIENT | {"RepetitionTime": 5.2, "EchoTime": 2.4, "FlipAngle": 12},
    "SPACE T1": SIEMENS | SPIN | {"RepetitionTime": 700, "EchoTime": 11, "FlipAngle": 120},
}  # fmt: skip

NOT_T1_WEIGHTED = {
    "T2 TSE": SIEMENS | SPIN | {"RepetitionTime": 4000, "EchoTime": 98, "MRAcquisitionType": "2D"},
    "T2 SPACE": SIEMENS | SPIN | {"RepetitionTime": 3200, "EchoTime": 408},
    "FLAIR": INVERTED_SPIN | {"RepetitionTime": 9000, "EchoTime": 90, "InversionTime": 2500},
    "3D FLAIR": INVERTED_SPIN | {"RepetitionTime": 5000, "EchoTime": 387, "InversionTime": 1800},
    "STIR": INVERTED_SPIN | {"RepetitionTime": 4000, "EchoTime": 50, "InversionTime": 160},
    "proton density": SPIN | {"RepetitionTime": 3000, "EchoTime": 12},
    "spoiled gradient echo at a small angle": GRADIENT | {"RepetitionTime": 25, "EchoTime": 3, "FlipAngle": 4},
    "diffusion": {
        "ScanningSequence": "EP", "SequenceVariant": "SK", "InversionTime": None, "RepetitionTime": 8000,
        "EchoTime": 85, "DiffusionBValue": 1000.0,
    },
    "functional": {
        "ScanningSequence": ["EP", "GR"], "InversionTime": None, "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 80,
    },
    "ADC map": {"ImageType": ["ORIGINAL", "PRIMARY", "ADC"]},
    "time of flight, by the angiography flag": GRADIENT
    | {"RepetitionTime": 21, "EchoTime": 3.6, "FlipAngle": 18, "AngioFlag": "Y"},
    "time of flight, GE": GE | GRADIENT
    | {"RepetitionTime": 25, "EchoTime": 2.7, "FlipAngle": 20, "ScanOptions": ["FC_SLICE_AX_GEMS", "VASCTOF_GEMS"]},
    "time of flight, Siemens by its sequence": SIEMENS | GRADIENT
    | {"RepetitionTime": 21, "EchoTime": 3.6, "FlipAngle": 18, "SequenceName": "*fi3d1r"},
    "susceptibility": GRADIENT | {"RepetitionTime": 28, "EchoTime": 20, "FlipAngle": 15},
    "balanced steady state": GRADIENT
    | {"SequenceVariant": ["SK", "SS"], "RepetitionTime": 4.5, "EchoTime": 2.2, "FlipAngle": 60},
    "phase of a field map": GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"], "RepetitionTime": 488, "EchoTime": 7.4, "FlipAngle": 60},
    "magnitude of a field map": SIEMENS | GRADIENT
    | {"SequenceName": "*fm2d2r", "RepetitionTime": 488, "EchoTime": 4.9, "FlipAngle": 60},
    "phase image, Philips": PHILIPS | {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]},
    "localizer": GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "RepetitionTime": 8.6, "EchoTime": 4, "FlipAngle": 20},
    "MP2RAGE, first inversion": SIEMENS
    | {"RepetitionTime": 5000, "EchoTime": 2.98, "InversionTime": 700, "FlipAngle": 4},
    "MP2RAGE, second inversion": SIEMENS
    | {"RepetitionTime": 5000, "EchoTime": 2.98, "InversionTime": 2500, "FlipAngle": 5},
    "MP2RAGE, second inversion at 7 T": SIEMENS
    | {"RepetitionTime": 6000, "EchoTime": 2.7, "InversionTime": 2700, "FlipAngle": 5, "MagneticFieldStrength": 7},
    "MP2RAGE, second inversion by its image type": SIEMENS | {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "INV2"]},
    "fat image of a Dixon acquisition": GRADIENT
    | {"ImageType": ["ORIGINAL", "PRIMARY", "F", "F", "FFE"], "RepetitionTime": 6, "EchoTime": 2, "FlipAngle": 12},
    "MP2RAGE, T1 map": SIEMENS | {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "T1 MAP"]},
}  # fmt: skip


def study_with(folder, shape=SHAPE, **series):
    for number, (name, header) in enumerate(series.items(), start=1):
        write_series(folder / name, head_like(shape, number), AFFINE, series=name, SeriesNumber=number, **header)
    return read_study([folder])


def refusal_of(study):
    with pytest.raises(InputRefused) as refused:
        select_series(study)
    return refused.value


@pytest.mark.parametrize("header", T1_WEIGHTED.values(), ids=T1_WEIGHTED)
def test_a_t1_weighted_sequence_is_recognised_by_its_parameters_alone(tmp_path, header):
    selection = select_series(study_with(tmp_path, scan=header))
    assert "T1w" in selection.chosen
    assert selection.candidates[0].score > 50


@pytest.mark.parametrize("description", [None, "t1_mprage_sag", "MPRAGE T1w 3D"])
@pytest.mark.parametrize("header", NOT_T1_WEIGHTED.values(), ids=NOT_T1_WEIGHTED)
def test_no_description_makes_another_sequence_t1_weighted(tmp_path, header, description):
    header = header | {"SeriesDescription": description, "ProtocolName": description}
    refusal = refusal_of(study_with(tmp_path, shape=(8, 9, 5), scan=header))  # contrast wins over coverage
    assert refusal.code == "no_t1w_series"
    (candidate,) = refusal.details["candidates"]
    assert "T1w" not in candidate["label"]


@pytest.mark.parametrize("header", T1_WEIGHTED.values(), ids=T1_WEIGHTED)
def test_no_description_hides_a_t1_weighted_sequence(tmp_path, header):
    header = header | {"SeriesDescription": "t2_flair_tra_loc"}
    assert select_series(study_with(tmp_path, scan=header)).chosen


def test_the_whole_exam_ends_in_its_mprage(tmp_path):
    exam = NOT_T1_WEIGHTED | {"the scan": T1_WEIGHTED["MPRAGE, Siemens 3 T"]}
    selection = select_series(study_with(tmp_path, **exam))
    assert selection.chosen.startswith(f"series {len(exam)}: 3D T1w")
    assert sum(candidate.eligible for candidate in selection.candidates) == 1
    assert len(selection.candidates) == len(exam)
    assert all(candidate.reasons for candidate in selection.candidates)


def test_the_scan_without_contrast_agent_is_preferred(tmp_path):
    mprage = T1_WEIGHTED["MPRAGE, Siemens 3 T"]
    study = study_with(tmp_path, before=mprage | {"ContrastBolusAgent": "Gadovist"}, after=mprage)
    selection = select_series(study)
    assert selection.chosen.startswith("series 2:")
    assert selection.review_reasons == ()


def test_a_scan_after_contrast_agent_is_used_where_there_is_no_other_and_reviewed(tmp_path):
    header = T1_WEIGHTED["VIBE"] | {"ContrastBolusAgent": "Gadovist"}
    selection = select_series(study_with(tmp_path, scan=header))
    assert any("contrast agent" in reason for reason in selection.review_reasons)
    assert "Gadovist" not in str(selection)


@pytest.mark.parametrize("agent", ["", "NO", "None", "n/a"])
def test_words_for_no_contrast_agent_are_understood(tmp_path, agent):
    selection = select_series(study_with(tmp_path, scan={"ContrastBolusAgent": agent}))
    assert selection.review_reasons == ()


@pytest.mark.parametrize(
    "image_type",
    [
        ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
        ["DERIVED", "PRIMARY", "MPR", "NORM"],
        ["ORIGINAL", "PRIMARY", "MPR"],
        ["DERIVED", "SECONDARY", "PROJECTION IMAGE"],
        ["DERIVED", "SECONDARY", "SUBTRACTION"],
    ],
)
def test_reformats_and_other_derived_images_alone_are_refused(tmp_path, image_type):
    study = study_with(tmp_path, scan={"ImageType": image_type})
    assert refusal_of(study).code == "derived_only"
    chosen = select_series(study, study.series[0].label)
    assert any("derived_only" in reason for reason in chosen.review_reasons)


def test_the_original_is_taken_beside_its_reformat(tmp_path):
    study = study_with(tmp_path, mpr={"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, original={})
    assert select_series(study).chosen.startswith("series 2:")


def test_the_uniform_image_of_an_mp2rage_is_used_and_reviewed(tmp_path):
    inversion = {"RepetitionTime": 5000, "EchoTime": 2.98}
    study = study_with(
        tmp_path,
        INV1=inversion | {"InversionTime": 700, "FlipAngle": 4},
        INV2=inversion | {"InversionTime": 2500, "FlipAngle": 5},
        UNI=inversion | {"InversionTime": 700, "ImageType": ["DERIVED", "PRIMARY", "M", "ND", "UNI"]},
    )
    selection = select_series(study)
    assert selection.chosen.startswith("series 3:")
    assert any("MP2RAGE" in reason for reason in selection.review_reasons)


def test_an_mprage_is_preferred_to_a_uniform_image_and_to_a_t1_spin_echo(tmp_path):
    study = study_with(
        tmp_path,
        uni={"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "UNI"]},
        space=T1_WEIGHTED["SPACE T1"],
        mprage=T1_WEIGHTED["MPRAGE, Siemens 3 T"],
    )
    assert select_series(study).chosen.startswith("series 3:")


def test_secondary_captures_and_other_modalities_are_named(tmp_path):
    capture = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "MR"}
    tomography = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}
    assert refusal_of(study_with(tmp_path / "a", scan=capture)).code == "secondary_capture"
    assert refusal_of(study_with(tmp_path / "b", scan=tomography)).code == "not_mr"
    t2 = NOT_T1_WEIGHTED["T2 TSE"]
    assert refusal_of(study_with(tmp_path / "c", ct=tomography, sc=capture, t2=t2)).code == "no_t1w_series"


def test_without_any_acquisition_parameters_a_scan_is_used_at_a_lower_score_and_reviewed(tmp_path):
    nothing = dict.fromkeys(
        ("ScanningSequence", "SequenceVariant", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle",
         "MRAcquisitionType", "MagneticFieldStrength", "ImageType")
    )  # fmt: skip
    selection = select_series(study_with(tmp_path / "a", scan=nothing))
    assert selection.candidates[0].score < 50
    assert any("not checked" in reason for reason in selection.review_reasons)
    both = select_series(study_with(tmp_path / "b", unknown=nothing, known={}))
    assert both.chosen.startswith("series 2:")
    assert (
        refusal_of(study_with(tmp_path / "c", scan=nothing | {"SeriesDescription": "t2_tse"})).code == "no_t1w_series"
    )


def test_a_two_dimensional_t1_of_fine_slices_is_used_and_reviewed(tmp_path):
    header = SPIN | {"RepetitionTime": 500, "EchoTime": 10, "MRAcquisitionType": "2D", "MagneticFieldStrength": 1.5}
    selection = select_series(study_with(tmp_path, scan=header))
    assert any("two-dimensional" in reason for reason in selection.review_reasons)


def test_a_two_dimensional_t1_spin_echo_of_thick_slices_is_refused(tmp_path):
    header = SPIN | {"RepetitionTime": 500, "EchoTime": 10, "MRAcquisitionType": "2D", "MagneticFieldStrength": 1.5}
    write_series(tmp_path, head_like((120, 120, 24)), ras_affine((1, 1, 5.5)), **header)
    assert refusal_of(read_study([tmp_path])).code == "through_plane_too_coarse"


@pytest.mark.parametrize(("spacing_mm", "usable"), [(2.9, True), (3.0, True), (3.01, False), (4.8, False)])
def test_three_millimetres_is_the_limit_between_slices(tmp_path, spacing_mm, usable):
    write_series(tmp_path, head_like((40, 40, 40)), ras_affine((2.8, 2.8, spacing_mm)))
    study = read_study([tmp_path])
    if usable:
        assert select_series(study).chosen
    else:
        assert refusal_of(study).code == "through_plane_too_coarse"


def test_coarse_pixels_are_refused(tmp_path):
    write_series(tmp_path, head_like((40, 40, 60)), ras_affine((3.5, 3.5, 2)))
    assert refusal_of(read_study([tmp_path])).code == "in_plane_too_coarse"


def test_the_finer_of_two_scans_is_preferred(tmp_path):
    write_series(tmp_path / "a", head_like((50, 50, 50)), ras_affine((3, 3, 3)), series="a", SeriesNumber=1)
    write_series(tmp_path / "b", head_like((75, 75, 75)), ras_affine((2, 2, 2)), series="b", SeriesNumber=2)
    assert select_series(read_study([tmp_path])).chosen.startswith("series 2:")


def test_a_faulty_better_series_is_told_when_another_one_is_taken(tmp_path):
    broken = slice_datasets(head_like((75, 75, 75)), ras_affine((2, 2, 2)), series="a", SeriesNumber=1)
    save_all(tmp_path / "a", broken[:30] + broken[31:])
    write_series(tmp_path / "b", head_like((50, 50, 50)), ras_affine((3, 3, 3)), series="b", SeriesNumber=2)
    selection = select_series(read_study([tmp_path]))
    assert selection.chosen.startswith("series 2:")
    assert any("missing_slices" in reason for reason in selection.review_reasons)


def test_equal_scans_tie_and_the_lower_series_number_is_taken(tmp_path):
    study = study_with(tmp_path, b={}, a={})
    selection = select_series(study)
    assert selection.chosen.startswith("series 1:")
    assert any("2 series are equally suitable" in reason for reason in selection.review_reasons)


def test_series_that_share_number_and_geometry_get_labels_that_follow_content_not_names(tmp_path):
    first = slice_datasets(head_like(SHAPE, 1), AFFINE, series="one")
    second = slice_datasets(head_like(SHAPE, 2), AFFINE, series="two")
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
    assert "the series was chosen by hand" in selection.review_reasons
    assert any("no_t1w_series" in reason for reason in selection.review_reasons)


def test_a_label_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    study = study_with(tmp_path, t1={})
    with pytest.raises(InputRefused) as refused:
        select_series(study, "series 99: whatever")
    assert refused.value.code == "unknown_series"
    assert [candidate["label"] for candidate in refused.value.details["candidates"]] == [study.series[0].label]


def test_a_choice_by_hand_does_not_mend_broken_geometry(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE)
    save_all(tmp_path, datasets[:10] + datasets[11:])
    study = read_study([tmp_path])
    with pytest.raises(InputRefused, match=r"^missing_slices"):
        select_series(study, study.series[0].label)


# Enhanced objects state their contrast themselves.


def enhanced_study(folder, **header):
    write_enhanced(folder / "e.dcm", [head_like(SHAPE)], AFFINE, **header)
    return read_study([folder])


def test_a_stated_t1_contrast_that_the_parameters_bear_out_is_believed(tmp_path):
    assert "T1w" in select_series(enhanced_study(tmp_path, AcquisitionContrast="T1")).chosen


def test_a_stated_t1_contrast_that_the_parameters_deny_is_not_believed(tmp_path):
    study = enhanced_study(tmp_path, AcquisitionContrast="T1", EchoTime=60.0)
    assert refusal_of(study).code == "no_t1w_series"


@pytest.mark.parametrize("contrast", ["DIFFUSION", "PERFUSION", "FLOW_ENCODED", "FLUID_ATTENUATED"])
def test_a_stated_contrast_that_timing_cannot_tell_is_believed(tmp_path, contrast):
    assert refusal_of(enhanced_study(tmp_path, AcquisitionContrast=contrast)).code == "no_t1w_series"


def test_a_stated_t2_contrast_against_t1_parameters_is_left_to_a_person(tmp_path):
    selection = select_series(enhanced_study(tmp_path, AcquisitionContrast="T2"))
    assert selection.review_reasons


def test_a_projection_of_a_volume_is_derived(tmp_path):
    study = enhanced_study(tmp_path, VolumeBasedCalculationTechnique="MAX_IP")
    assert refusal_of(study).code == "derived_only"


def test_the_phase_part_of_an_enhanced_object_is_no_candidate(tmp_path):
    parts = [{"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}]
    write_enhanced(tmp_path / "e.dcm", [head_like(SHAPE, 1), head_like(SHAPE, 2)], AFFINE, frames=parts)
    selection = select_series(read_study([tmp_path]))
    assert [candidate.eligible for candidate in selection.candidates] == [True, False]


def test_the_phase_images_of_ge_are_known_by_their_private_element(tmp_path):
    datasets = slice_datasets(head_like(SHAPE), AFFINE, **T1_WEIGHTED["IR-SPGR, GE"])
    for dataset in datasets:
        block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x2F, "SS", 1)
    save_all(tmp_path, datasets)
    assert refusal_of(read_study([tmp_path])).code == "no_t1w_series"
