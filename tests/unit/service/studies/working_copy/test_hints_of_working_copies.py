"""What the pipeline takes from descriptions and sequence names must outlive the cutting down to known words."""

import io
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from med3d_pipeline.reading import agent_phrases as pipeline_phrases
from med3d_pipeline.reading.derivation import derivation_fault
from med3d_pipeline.reading.description_hints import hints_of
from med3d_pipeline.reading.dicom_headers import read_planes
from med3d_pipeline.reading.series_identity import sequence_identity
from med3d_service.studies.working_copy import agent_phrases as service_phrases
from med3d_service.studies.working_copy.deidentify import Deidentifier
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from med3d_service.studies.working_copy.vocabulary import known_description
from rig.dicom.mr_headers import GRADIENT
from rig.dicom.series import head_like, legacy_converted_dataset, ras_affine, slice_datasets

DESCRIPTIONS = [
    "AAHead_Scout_64ch-head-coil", "SmartBrain", "Survey_32ch_HeadCoil", "CoilSurvey", "3-plane loc", "localiser",
    "Scanogram", "Plan Scan", "ASSET calibration", "Calib_HeadCoil", "SENSE ref scan", "B1_map", "gre_field_mapping",
    "TOF_3D_multi-slab", "3D MRA", "Angiography", "CEMRA", "MRV 3D PCA", "SWIp", "QSM", "t2* hemo", "mocoMEMPRAGE RMS",
    "SAG 3D T1 +C", "T1 C+", "T1+C", "t1_post-Gd", "T1 w/o contrast", "T1 without Gd", "t1_ohne_KM", "t1 km", "T1ce",
    "T1 MPRAGE nach Gadovist", "t1_mpr_sag_p2_iso", "reformatted", "T2 FLAIR dark", "sT1W_3D_TFE", "sT2W_TSE", "sFLAIR_long",
    "Lokalisierer 3D", "Localisateur", "localizador", "localizzatore", "Kopflokalisator", "Repérage", "Pilot", "Topogram",
    "Übersicht", "3 PLANE", "3-plane loc", "3pl_loc", "3plane", "AutoAlign_head", "SPEEDER Map", "SenseRefScan", "CoilRefScan",
    "ref scan", "coil survey", "Kopf_Planung", "planning", "s3DI_MC_HR", "3DTOF", "inflow art.", "COW MOTSA", "3D venous",
    "T1 post op", "T1 post-op", "T1 post surgery", "T1 post surgical", "T1 post treatment", "T1 post chemotherapy",
    "T1 post radiotherapy", "T1 post op\u00e9ratoire", "T1 post operatorio", "T1 post OP mit KM", "T1 post-processed",
    "T1_postGd", "T1 POSTGAD", "gdT1", "T1 postgadolinium", "T1 pregadolinium", "T1 nach Kontrastmittelgabe", "T1 KM-Gabe",
    "T1 con contraste", "T1 avec injection", "T1 inject\u00e9", "T1 sans injection de gadolinium", "T1 MDC",
    "T1 senza mdc", "T1 sin contraste", "T1 +Gd", "T1 o. KM", "T1 keine KM",
    "T1 +K", "T1 c/c", "T1 s/c", "T1 med kontrast", "T1 utan kontrast", "T1 po kontraście", "T1 bez kontrastu", "T1 POSTCON", "T1 IV+",
    "T1 \u0441 \u043a\u043e\u043d\u0442\u0440\u0430\u0441\u0442\u043e\u043c", "T1 造影", "T1 造影前", "T1 增强", "T1 조영", "T1 post covid", "T1 post training",
    "T1 high contrast", "t1_vibe_post_SUB", "T1 sub-01", "T1 map", "SyMRI R1", "T1w/T2w ratio", "brain mask",
    "T1 RT planning", "SAG T1 xyz 3D", "3D foo bar T1", "pd", "DWI b1000", "bold rest",
]  # fmt: skip


def facts_of(folder, dataset):
    path = folder / "one.dcm"
    dataset.save_as(path, enforce_file_format=True)
    original = read_planes(path)[0].facts
    path.write_bytes(Deidentifier(Pseudonyms(b"k" * 32)).copy(path.read_bytes())[0])
    return original, read_planes(path)[0].facts


def test_service_and_pipeline_find_an_agent_by_the_same_words():
    theirs, ours = (Path(module.__file__).read_bytes() for module in (pipeline_phrases, service_phrases))
    assert theirs == ours


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_the_hints_of_a_description_are_those_of_its_known_words(description):
    assert hints_of(description)
    assert hints_of(known_description(description)) == hints_of(description)


@pytest.mark.parametrize(
    "name", ["*fl3d1r_ts", "*fl3d4r", "gre_tof", "gre_scout", "*fi3d1r", "*swi3d1r", "*tfl3d1_16ns"]
)
def test_the_working_copy_keeps_what_a_sequence_name_says(tmp_path, name):
    dataset = slice_datasets(head_like((8, 8, 4)), ras_affine(), **GRADIENT, SequenceName=name)[0]
    original, copied = facts_of(tmp_path, dataset)
    assert sequence_identity(copied) == sequence_identity(original)
    assert (sequence_identity(original) is None) == ("tfl" in name)


DERIVATIONS = [
    "Multiplanar reformatting", "MPR", "curved reformat", "Maximum intensity projection", "MIP", "Volume rendering",
    "subtracted", "ADC map", "T2* map", "R2_maps", "Segmentation", "label map",
]  # fmt: skip


@pytest.mark.parametrize(
    "description", [*DERIVATIONS, "Defaced by Dr X", "MPR; GradWarp; B1 Correction; N3; Scaled", ""]
)
@pytest.mark.parametrize("code", [None, "113072", "113040"])
def test_the_working_copy_keeps_how_an_image_was_derived(tmp_path, description, code):
    dataset = slice_datasets(head_like((8, 8, 4)), ras_affine(), LossyImageCompression="01")[0]
    dataset.DerivationDescription = description
    if code is not None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", "said in words"
        dataset.DerivationCodeSequence = [item]
    original, copied = facts_of(tmp_path, dataset)
    assert copied.derivations == original.derivations
    assert bool(derivation_fault(original)) == (description in DERIVATIONS or code == "113072")
    assert copied.lossy_compressed is original.lossy_compressed is True


def test_the_working_copy_keeps_what_an_archive_converted(tmp_path):
    dataset = legacy_converted_dataset(head_like((8, 8, 4)), ras_affine(), SeriesDescription="t1 mprage (converted)")
    original, copied = facts_of(tmp_path, dataset)
    assert (original.tr_ms, original.ti_ms, original.scanning_sequence) == (2250, 850, ("GR", "IR"))
    assert (copied.tr_ms, copied.te_ms, copied.ti_ms) == (original.tr_ms, original.te_ms, original.ti_ms)
    assert copied.scanning_sequence == original.scanning_sequence


def test_a_copied_data_set_of_unknown_words_says_nothing(tmp_path):
    buffer = io.BytesIO()
    slice_datasets(head_like((8, 8, 4)), ras_affine(), SeriesDescription="Smithscoutson Angiolini")[0].save_as(
        buffer, enforce_file_format=True
    )
    data, _ = Deidentifier(Pseudonyms(b"k" * 32)).copy(buffer.getvalue())
    assert b"Smith" not in data
    assert b"Angiolini" not in data
