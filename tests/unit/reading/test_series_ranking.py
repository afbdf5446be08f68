"""Headers as scanners write them, through the files, the reader and the choice."""

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.series_identity import image_fault
from med3d_pipeline.study.study import read_study, select_series
from rig.dicom.mr_headers import GRADIENT, NOT_T1_WEIGHTED, PHILIPS, SPIN, T1_WEIGHTED, UNSTATED_PREPARATION
from rig.dicom.series import head_like, ras_affine, save_all, slice_datasets, write_enhanced, write_series
from rig.dicom.studies_on_disk import HEAD_AFFINE, HEAD_SHAPE, refusal_of_choice, study_by_headers


def reasons_of(selection):
    """Give the reasons for review, but for the voxels of 3 mm that the heads here have."""
    return [reason for reason in selection.review_reasons if reason.code != "thick_slices"]


def codes_of(selection):
    return [reason.code for reason in reasons_of(selection)]


@pytest.mark.parametrize("header", T1_WEIGHTED.values(), ids=T1_WEIGHTED)
def test_a_t1_weighted_sequence_is_recognised_by_its_parameters_alone(tmp_path, header):
    selection = select_series(study_by_headers(tmp_path, scan=header))
    assert "T1w" in selection.chosen
    assert selection.candidates[0].score > 50


@pytest.mark.parametrize("description", [None, "t1_mprage_sag", "MPRAGE T1w 3D"])
@pytest.mark.parametrize("header", NOT_T1_WEIGHTED.values(), ids=NOT_T1_WEIGHTED)
def test_no_description_makes_another_sequence_t1_weighted(tmp_path, header, description):
    header = header | {"SeriesDescription": description, "ProtocolName": description}
    refusal = refusal_of_choice(study_by_headers(tmp_path, shape=(8, 9, 5), scan=header))  # contrast wins over coverage
    assert refusal.code == "no_t1w_series"
    (candidate,) = refusal.details["candidates"]
    assert "T1w" not in candidate["label"]


@pytest.mark.parametrize("header", T1_WEIGHTED.values(), ids=T1_WEIGHTED)
def test_no_description_hides_a_t1_weighted_sequence(tmp_path, header):
    header = header | {"SeriesDescription": "t2_flair_tra_loc"}
    assert select_series(study_by_headers(tmp_path, scan=header)).chosen


@pytest.mark.parametrize("header", UNSTATED_PREPARATION.values(), ids=UNSTATED_PREPARATION)
def test_a_prepared_scan_without_its_inversion_time_is_left_to_the_voxels_at_a_lower_score(tmp_path, header):
    selection = select_series(study_by_headers(tmp_path / "a", scan=header))
    assert "contrast_unknown" in codes_of(selection)
    both = select_series(study_by_headers(tmp_path / "b", unstated=header, known={}))
    assert both.chosen.startswith("series 2: 3D T1w")


STEADY_T1 = PHILIPS | GRADIENT | {"RepetitionTime": 9, "EchoTime": 3.5, "FlipAngle": 12}  # nothing shows inversion


@pytest.mark.parametrize(
    "description",
    [
        "AAHead_Scout_64ch", "SmartBrain", "Survey_32ch_HeadCoil", "CoilSurvey", "3-plane loc", "Localiser", "T1 localizer",
        "Locator", "Scanogram", "Plan Scan", "ASSET calibration", "Calib_HeadCoil", "SENSE ref scan", "B1_map", "B1map_ns",
        "field map", "TOF 3D multi-slab", "3D MRA COW", "Angio art.", "CEMRA neck", "SWIp", "QSM gre", "t2* hemo",
        "Lokalisierer 3D", "Localisateur", "localizador", "localizzatore", "REPERAGE 3D", "Repérage", "Pilot", "Topogram",
        "3 PLANE", "3pl_loc", "AutoAlign_head", "SPEEDER Map", "SenseRefScan", "ref scan", "coil survey",
        "planning", "Kopf_Planung", "s3DI_MC_HR", "3DTOF", "inflow", "Ax COW MOTSA", "3D ART", "VEN", "Brain Survey T1",
    ],
)  # fmt: skip
def test_where_nothing_shows_inversion_a_description_of_a_rival_is_believed(tmp_path, description):
    study = study_by_headers(tmp_path, scan=STEADY_T1 | {"SeriesDescription": description})
    assert refusal_of_choice(study).code == "no_t1w_series"


@pytest.mark.parametrize(
    "description",
    [
        "T1W 3D FFE", "t1_fl3d sag loc", "head", "3D SPGR pc", "AX T2 FLAIR survived", "MPRAGE localizer", "BRAVO survey",
        "T1 3D Lokalisierer", "T1 pilot", "pilot study", "RT planning", "Stealth planning", "local head", "SmART head",
        "venture", "SPGR motion MC", "multiplane", "OP-Planung",
    ],
)  # fmt: skip
def test_a_steady_state_scan_is_used_under_any_other_description(tmp_path, description):
    assert (
        "T1w" in select_series(study_by_headers(tmp_path, scan=STEADY_T1 | {"SeriesDescription": description})).chosen
    )


FLOW_COMPENSATED = [
    PHILIPS | GRADIENT | {"ScanOptions": "FC", "RepetitionTime": 8.1, "EchoTime": 3.7, "FlipAngle": 8},
    GRADIENT | {"ScanOptions": ["FC_FREQ_AX_GEMS"], "RepetitionTime": 9, "EchoTime": 3.5, "FlipAngle": 12},
    GRADIENT | {"SequenceName": "*fl3d1r", "RepetitionTime": 11, "EchoTime": 4.6, "FlipAngle": 15},
    GRADIENT | {"ScanOptions": "FC", "RepetitionTime": 25, "EchoTime": 4.6, "FlipAngle": 30},
]


@pytest.mark.parametrize("header", FLOW_COMPENSATED)
def test_rephased_flow_alone_speaks_not_against_t1_weighting(tmp_path, header):
    named = select_series(study_by_headers(tmp_path / "a", scan=header | {"SeriesDescription": "sT1W_3D_TFE"}))
    assert "T1w" in named.chosen
    assert "contrast_unknown" not in codes_of(named)
    silent = header | {"SeriesDescription": None, "ProtocolName": None}
    assert "contrast_unknown" in codes_of(select_series(study_by_headers(tmp_path / "b", scan=silent)))
    study = study_by_headers(tmp_path / "c", scan=header | {"SeriesDescription": "TOF"})
    assert refusal_of_choice(study).code == "no_t1w_series"


def test_where_the_modality_is_not_stated_the_class_of_the_images_decides(tmp_path):
    assert "T1w" in select_series(study_by_headers(tmp_path / "a", scan={"Modality": ""})).chosen
    refusal = refusal_of_choice(study_by_headers(tmp_path / "b", scan={"Modality": "CT"}))
    assert refusal.code == "not_mr"


def test_images_of_neither_modality_nor_class_are_refused_for_saying_nothing():
    fault = image_fault(SequenceFacts(photometric="MONOCHROME2"))
    assert fault is not None
    assert fault.code == "not_mr"
    assert "neither" in fault.reason


def test_the_name_of_a_whole_examination_says_nothing_of_a_series_that_speaks_for_itself(tmp_path):
    header = STEADY_T1 | {"SeriesDescription": "SAG 3D FSPGR", "ProtocolName": "HEAD SURVEY TOF MRA"}
    assert "T1w" in select_series(study_by_headers(tmp_path / "a", scan=header)).chosen
    silent = STEADY_T1 | {"SeriesDescription": "3D", "ProtocolName": "TOF MRA"}
    assert refusal_of_choice(study_by_headers(tmp_path / "b", scan=silent)).code == "no_t1w_series"


@pytest.mark.parametrize("description", ["AAHead_Scout", "TOF", "B1 map", "SWI"])
def test_an_inversion_speaks_louder_than_the_description(tmp_path, description):
    assert "T1w" in select_series(study_by_headers(tmp_path, scan={"SeriesDescription": description})).chosen


def test_the_scan_without_contrast_agent_is_preferred(tmp_path):
    mprage = T1_WEIGHTED["MPRAGE, Siemens 3 T"]
    study = study_by_headers(tmp_path, before=mprage | {"ContrastBolusAgent": "Gadovist"}, after=mprage)
    selection = select_series(study)
    assert selection.chosen.startswith("series 2:")
    assert codes_of(selection) == []


def test_a_scan_after_contrast_agent_is_used_where_there_is_no_other_and_reviewed(tmp_path):
    header = T1_WEIGHTED["VIBE"] | {"ContrastBolusAgent": "Gadovist"}
    selection = select_series(study_by_headers(tmp_path, scan=header))
    assert "contrast_agent" in codes_of(selection)
    assert "Gadovist" not in str(selection)


@pytest.mark.parametrize(
    "description",
    ["SAG 3D T1 +C", "T1+C", "T1 C+", "t1_mprage_post-Gd", "T1 MPRAGE GADO", "T1ce", "t1_km", "3D T1 mit KM", "T1 CE",
     "t1 pre and post", "T1 Gadovist", "MPRAGE with contrast", "T1_postGd", "T1 POSTGAD", "gdT1", "T1 con contraste", "T1 MDC",
     "T1 nach Kontrastmittelgabe", "T1 avec injection", "T1 inject\u00e9", "T1 +Gd", "T1 post OP mit KM", "T1 post 5min",
     "T1 +K", "T1 c/c", "T1 con CIV", "T1 m.d.c.", "T1 W/C", "T1 contrasted", "T1 med kontrast", "T1 po kontra\u015bcie", "T1 POSTCON",
     "T1 kontrastl\u0131", "T1 +IV", "T1 varjoaine", "T1 \u0441 \u043a\u043e\u043d\u0442\u0440\u0430\u0441\u0442\u043e\u043c", "T1 \u9020\u5f71", "T1 \u589e\u5f3a",
     "T1 \uc870\uc601", "POST 3D T1"],
)  # fmt: skip
def test_a_description_that_speaks_of_contrast_agent_is_reviewed_and_the_other_scan_preferred(tmp_path, description):
    header = {"SeriesDescription": description}
    selection = select_series(study_by_headers(tmp_path / "a", scan=header))
    (reason,) = reasons_of(selection)
    assert reason.code == "contrast_agent_possible"
    both = study_by_headers(tmp_path / "b", before=header, plain={"SeriesDescription": "t1"})
    assert select_series(both).chosen.startswith("series 2:")


@pytest.mark.parametrize(
    "description",
    ["t1_mprage_sag", "T1 without contrast", "T1 w/o Gd", "T1 pre-contrast", "t1_pre_gd", "T1 ohne KM", "non-contrast T1",
     "T1 post op", "T1 post-op", "T1 post surgery", "T1 post treatment", "T1 post chemo", "T1 post radiotherapy", "T1 sin contraste",
     "T1 post op\u00e9ratoire", "T1 senza mdc", "T1 sans injection de gadolinium", "T1 pregadolinium", "T1 o. KM",
     "T1 C-spine", "T1 posterior fossa", "T1 post covid", "T1 post training",
     "T1 post-TMS", "T1 utan kontrast", "T1 bez kontrastu", "T1 geen contrast", "T1 high contrast", "T1 s/c", "T1 \u9020\u5f71\u524d",
     "T1 \u5e73\u626b", "T1 kontrasts\u0131z", "T1 3D (enhanced conversion)"],
)  # fmt: skip
def test_other_descriptions_say_nothing_of_contrast_agent(tmp_path, description):
    assert codes_of(select_series(study_by_headers(tmp_path, scan={"SeriesDescription": description}))) == []


@pytest.mark.parametrize("agent", ["", "NO", "None", "n/a", "NO CONTRAST", "UNKNOWN", "ohne KM", "0 ml"])
def test_words_for_no_contrast_agent_are_understood(tmp_path, agent):
    selection = select_series(study_by_headers(tmp_path, scan={"ContrastBolusAgent": agent}))
    assert codes_of(selection) == []


@pytest.mark.parametrize(
    "image_type",
    [
        ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
        ["DERIVED", "PRIMARY", "MPR", "NORM"],
        ["ORIGINAL", "PRIMARY", "MPR"],
        ["DERIVED", "SECONDARY", "PROJECTION IMAGE"],
        ["DERIVED", "SECONDARY", "SUBTRACTION"],
        ["ORIGINAL", "PRIMARY", "CSA MPR"],
        ["DERIVED", "PRIMARY", "MPR_THICK"],
        ["DERIVED", "SECONDARY", "MIP THICK"],
        ["DERIVED", "SECONDARY", "COLLAPSE"],
        ["DERIVED", "SECONDARY", "SUBTRACT"],
        ["DERIVED", "SECONDARY", "DIVISION"],
        ["DERIVED", "SECONDARY", "FUSION"],
        ["DERIVED", "PRIMARY", "M", "MAXIMUM"],
        ["DERIVED", "SECONDARY", "VOLUME_RENDER"],
        ["DERIVED", "SECONDARY", "SEGMENTATION"],
    ],
)
def test_reformats_and_other_derived_images_alone_are_refused(tmp_path, image_type):
    study = study_by_headers(tmp_path, scan={"ImageType": image_type})
    assert refusal_of_choice(study).code == "derived_only"
    chosen = select_series(study, study.series[0].label)
    assert any("derived_only" in reason.sentence for reason in chosen.review_reasons)


@pytest.mark.parametrize(
    "header",
    [
        {"DerivationDescription": "Multiplanar reformatting"},
        {"DerivationDescription": "MIP, 10 mm"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "AX T1 reformatted"},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "SeriesDescription": "PJN: sag T1"},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "SeriesDescription": "T1 subtraction"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "aseg"},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "ND"], "SeriesDescription": "t1_vibe_post_SUB"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "T1 map"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "T1w/T2w ratio"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "brain mask"},
    ],
)
def test_what_words_call_a_reformat_projection_subtraction_or_segmentation_is_refused_and_named(tmp_path, header):
    refusal = refusal_of_choice(study_by_headers(tmp_path, scan=header))
    assert refusal.code == "derived_only"
    assert "original acquisition" in refusal.reason


NO_PARAMETERS = dict.fromkeys(
    ("ScanningSequence", "SequenceVariant", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle",
     "MRAcquisitionType", "MagneticFieldStrength")
)  # fmt: skip


@pytest.mark.parametrize(
    "header",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "NORM"]},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "NORM"], "DerivationDescription": "defaced with a face mask"},
        {"ImageType": ["DERIVED", "SECONDARY"], "DerivationDescription": "MPR; GradWarp; B1 Correction; N3; Scaled"},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "MEAN"], "SeriesDescription": "MEMPRAGE RMS"},
        {"ImageType": ["DERIVED", "PRIMARY", "OTHER", "FILTERED_GEMS"]},
        NO_PARAMETERS | {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "sub-01_anat-T1w"},
        NO_PARAMETERS | {"ImageType": ["DERIVED", "SECONDARY"]},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "T1 sub-01"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "t1_mprage mask_face"},
        {"ImageType": ["DERIVED", "SECONDARY"], "SeriesDescription": "T1 (face mask)"},
        {"ImageType": ["DERIVED", "SECONDARY"], "DerivationDescription": "curved reconstruction kernel"},
    ],
)
def test_a_whole_scan_that_was_changed_is_used_at_a_lower_score_and_reviewed(tmp_path, header):
    selection = select_series(study_by_headers(tmp_path / "a", scan=header))
    assert any(reason.code == "derived_image" for reason in selection.review_reasons)
    assert select_series(study_by_headers(tmp_path / "b", derived=header, original={})).chosen.startswith("series 2:")


@pytest.mark.parametrize("image_type", [["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "M", "ND", "NORM"]])
def test_images_compressed_with_loss_are_called_that_and_not_derived(tmp_path, image_type):
    header = {"ImageType": image_type, "LossyImageCompression": "01", "DerivationDescription": "JPEG lossy, ratio 10"}
    selection = select_series(study_by_headers(tmp_path, scan=header))
    (reason,) = reasons_of(selection)
    assert reason.code == "lossy_compression"


def test_a_lossy_transfer_syntax_tells_by_itself(tmp_path):
    datasets = slice_datasets(head_like(HEAD_SHAPE), HEAD_AFFINE)
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
    save_all(tmp_path, datasets)
    (reason,) = reasons_of(select_series(read_study([tmp_path])))
    assert reason.code == "lossy_compression"


def test_lossless_images_are_not_called_lossy(tmp_path):
    assert codes_of(select_series(study_by_headers(tmp_path, scan={"LossyImageCompression": "00"}))) == []


def test_the_original_is_taken_beside_its_reformat(tmp_path):
    study = study_by_headers(tmp_path, mpr={"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, original={})
    assert select_series(study).chosen.startswith("series 2:")


def test_the_uniform_image_of_an_mp2rage_is_used_and_reviewed(tmp_path):
    inversion = {"RepetitionTime": 5000, "EchoTime": 2.98}
    study = study_by_headers(
        tmp_path,
        INV1=inversion | {"InversionTime": 700, "FlipAngle": 4},
        INV2=inversion | {"InversionTime": 2500, "FlipAngle": 5},
        UNI=inversion | {"InversionTime": 700, "ImageType": ["DERIVED", "PRIMARY", "M", "ND", "UNI"]},
    )
    selection = select_series(study)
    assert selection.chosen.startswith("series 3:")
    assert "noisy_background" in codes_of(selection)


def test_an_mprage_is_preferred_to_a_uniform_image_and_to_a_t1_spin_echo(tmp_path):
    study = study_by_headers(
        tmp_path,
        uni={"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "UNI"]},
        space=T1_WEIGHTED["SPACE T1"],
        mprage=T1_WEIGHTED["MPRAGE, Siemens 3 T"],
    )
    assert select_series(study).chosen.startswith("series 3:")


def test_without_any_acquisition_parameters_a_scan_is_used_at_a_lower_score_and_reviewed(tmp_path):
    nothing = dict.fromkeys(
        ("ScanningSequence", "SequenceVariant", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle",
         "MRAcquisitionType", "MagneticFieldStrength", "ImageType")
    )  # fmt: skip
    selection = select_series(study_by_headers(tmp_path / "a", scan=nothing))
    assert selection.candidates[0].score < 50
    assert "contrast_unknown" in codes_of(selection)
    both = select_series(study_by_headers(tmp_path / "b", unknown=nothing, known={}))
    assert both.chosen.startswith("series 2:")
    assert (
        refusal_of_choice(study_by_headers(tmp_path / "c", scan=nothing | {"SeriesDescription": "t2_tse"})).code
        == "no_t1w_series"
    )


def test_a_two_dimensional_t1_of_fine_slices_is_used_and_reviewed(tmp_path):
    header = SPIN | {"RepetitionTime": 500, "EchoTime": 10, "MRAcquisitionType": "2D", "MagneticFieldStrength": 1.5}
    selection = select_series(study_by_headers(tmp_path, scan=header))
    assert "two_dimensional" in codes_of(selection)


def test_a_two_dimensional_t1_spin_echo_of_thick_slices_is_refused(tmp_path):
    header = SPIN | {"RepetitionTime": 500, "EchoTime": 10, "MRAcquisitionType": "2D", "MagneticFieldStrength": 1.5}
    write_series(tmp_path, head_like((120, 120, 24)), ras_affine((1, 1, 5.5)), **header)
    assert refusal_of_choice(read_study([tmp_path])).code == "through_plane_too_coarse"


@pytest.mark.parametrize(("spacing_mm", "usable"), [(2.9, True), (3.0, True), (3.01, False), (4.8, False)])
def test_three_millimetres_is_the_limit_between_slices(tmp_path, spacing_mm, usable):
    study = study_by_headers(tmp_path, (40, 40, 40), ras_affine((2.5, 2.5, spacing_mm)), scan={})
    if usable:
        assert select_series(study).chosen
    else:
        assert refusal_of_choice(study).code == "through_plane_too_coarse"


@pytest.mark.parametrize(
    ("spacing_mm", "marked"),
    [
        ((1, 1, 2), False),
        ((2, 2, 2.04), False),
        ((1.5, 1.5, 3), True),
        ((2.5, 2.5, 2.5), True),
        ((2.2, 2.2, 2.2), True),
    ],
)
def test_voxels_coarser_than_those_of_the_training_are_for_review(tmp_path, spacing_mm, marked):
    study = study_by_headers(tmp_path, (110, 110, 55), ras_affine(spacing_mm), scan={})
    codes = {reason.code for reason in select_series(study).review_reasons}
    assert ("thick_slices" in codes) is marked


@pytest.mark.parametrize("spacing_mm", [(3.5, 3.5, 2), (2.6, 2.6, 2.6), (1, 2.6, 3), (2.6, 1, 3)])
def test_coarse_pixels_are_refused(tmp_path, spacing_mm):
    refusal = refusal_of_choice(study_by_headers(tmp_path, (110, 110, 60), ras_affine(spacing_mm), scan={}))
    assert refusal.code == "in_plane_too_coarse"
    (candidate,) = refusal.details["candidates"]
    assert sum("in_plane_too_coarse" in reason for reason in candidate["reasons"]) == 1


# Enhanced objects state their contrast themselves.


def enhanced_study(folder, **header):
    write_enhanced(folder / "e.dcm", [head_like(HEAD_SHAPE)], HEAD_AFFINE, **header)
    return read_study([folder])


def test_a_stated_t1_contrast_that_the_parameters_bear_out_is_believed(tmp_path):
    assert "T1w" in select_series(enhanced_study(tmp_path, AcquisitionContrast="T1")).chosen


def test_a_stated_t1_contrast_that_the_parameters_deny_is_not_believed(tmp_path):
    study = enhanced_study(tmp_path, AcquisitionContrast="T1", EchoTime=60.0)
    assert refusal_of_choice(study).code == "no_t1w_series"


@pytest.mark.parametrize("contrast", ["DIFFUSION", "PERFUSION", "FLOW_ENCODED", "FLUID_ATTENUATED"])
def test_a_stated_contrast_that_timing_cannot_tell_is_believed(tmp_path, contrast):
    assert refusal_of_choice(enhanced_study(tmp_path, AcquisitionContrast=contrast)).code == "no_t1w_series"


def test_a_stated_t2_contrast_against_t1_parameters_is_left_to_a_person(tmp_path):
    selection = select_series(enhanced_study(tmp_path, AcquisitionContrast="T2"))
    assert selection.review_reasons


def test_a_projection_of_a_volume_is_derived(tmp_path):
    study = enhanced_study(tmp_path, VolumeBasedCalculationTechnique="MAX_IP")
    assert refusal_of_choice(study).code == "derived_only"


def test_the_phase_part_of_an_enhanced_object_is_no_candidate(tmp_path):
    parts = [{"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}]
    write_enhanced(tmp_path / "e.dcm", [head_like(HEAD_SHAPE, 1), head_like(HEAD_SHAPE, 2)], HEAD_AFFINE, frames=parts)
    selection = select_series(read_study([tmp_path]))
    assert [candidate.eligible for candidate in selection.candidates] == [True, False]


def test_the_phase_images_of_ge_are_known_by_their_private_element(tmp_path):
    datasets = slice_datasets(head_like(HEAD_SHAPE), HEAD_AFFINE, **T1_WEIGHTED["IR-SPGR, GE"])
    for dataset in datasets:
        block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x2F, "SS", 1)
    save_all(tmp_path, datasets)
    assert refusal_of_choice(read_study([tmp_path])).code == "no_t1w_series"
