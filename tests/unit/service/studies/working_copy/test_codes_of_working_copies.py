"""Every code and word by which the pipeline judges a series outlives de-identification: the two lists cannot drift."""

import ast
import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_pipeline.reading import derivation, description_hints, dicom_facts, mr_contrast, series_identity
from med3d_pipeline.reading.dicom_headers import read_planes
from med3d_pipeline.study import acquisition, series_ranking
from med3d_service.studies.working_copy.deidentify import Deidentifier, tolerant_reading
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from med3d_service.studies.working_copy.vocabulary import known_derivation, known_description
from rig.dicom.mr_headers import GRADIENT
from rig.dicom.series import head_like, ras_affine, slice_datasets

READERS = (derivation, dicom_facts, mr_contrast, series_identity, acquisition, series_ranking)
_CODE = re.compile(r"[A-Z][A-Z0-9_*/ -]*")
NO_CODES = {"N/A", "NA", "FLAIR", "FLOW", "GEMS_PARM_01", "TE", "TI", "TR"}
"""No contrast agent, a hint of descriptions, a prefix (its stem stays, see below), a private creator, words of reasons."""


def codes_in(module):
    """The constants of a module that look like DICOM codes."""
    tree = ast.parse(inspect.getsource(module))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if _CODE.fullmatch(text)} - NO_CODES


def planes(folder, **header):
    """The facts of one slice, and those of its copy."""
    path = folder / "one.dcm"
    with tolerant_reading():  # codes are tested for that no standard allows
        slice_datasets(head_like((8, 8, 4)), ras_affine(), **header)[0].save_as(path, enforce_file_format=True)
    original = read_planes(path)[0].facts
    path.write_bytes(Deidentifier(Pseudonyms(b"k" * 32)).copy(path.read_bytes())[0])
    return original, read_planes(path)[0].facts


@pytest.mark.parametrize(
    ("keyword", "fact"),
    [
        ("ImageType", "image_type"),
        ("ScanOptions", "scan_options"),
        ("AcquisitionContrast", "acquisition_contrast"),
        ("Modality", "modality"),
    ],
)
def test_every_code_that_a_reader_tests_for_stays(tmp_path, keyword, fact):
    codes = sorted(set().union(*map(codes_in, READERS)))
    assert {"QUANTITY", "DEVIATION", "MAXIMUM", "LABELMAP", "MPR", "TOF", "IR"} <= set(codes)
    lost = []
    for code in codes:
        original, copied = planes(tmp_path, **{keyword: code})
        if getattr(copied, fact) != getattr(original, fact):
            lost.append(code)
    assert lost == []


@pytest.mark.parametrize(
    "option",
    ["FC_SLICE_AX_GEMS", "FC_FREQ_AX_GEMS", "FCSLICE_AX_GEMS", "FLOW_COMP", "FLOWCOMP_XY", "FC_OF_A_VENDOR", "NEWTOF_9"],
)  # fmt: skip
def test_an_option_that_rules_a_series_out_rules_its_copy_out(tmp_path, option):
    header = GRADIENT | {"MRAcquisitionType": "3D", "ScanOptions": ["SAT_GEMS", option]}
    original, copied = planes(tmp_path, **header)
    assert series_identity.sequence_identity(original) is not None
    assert series_identity.sequence_identity(copied) == series_identity.sequence_identity(original)


def test_an_option_of_no_meaning_is_not_read(tmp_path):
    _, copied = planes(tmp_path, ScanOptions=["SMITH_SPECIAL"])
    assert not any("SMITH" in option for option in copied.scan_options)


@pytest.mark.parametrize(
    "description", ["T1 reformation", "ADCmap", "T2*map", "t1maps", "ADC map.", "Reformats.", "subtractive", "surface renders"]
)  # fmt: skip
def test_derivations_in_other_words_stay(description):
    assert description_hints.derivations_of(description, [])
    assert description_hints.derivations_of(known_derivation(description), []) == description_hints.derivations_of(
        description, []
    )


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.data())
@pytest.mark.parametrize("kind", sorted(description_hints._DERIVED))
def test_every_word_for_a_derivation_stays(kind, data):
    text = data.draw(st.from_regex(re.compile(description_hints._DERIVED[kind], re.ASCII), fullmatch=True))
    found = description_hints.derivations_of(text, [])
    assert description_hints.derivations_of(known_derivation(text), []) >= found & {kind}


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.data())
@pytest.mark.parametrize("kind", sorted(description_hints._WORDS))
def test_every_word_for_a_kind_of_scan_stays(kind, data):
    pattern = re.compile(description_hints._WORDS[kind].replace(r"\w*", "[a-z]{0,3}"), re.ASCII)
    text = data.draw(st.from_regex(pattern, fullmatch=True))
    assert description_hints.hints_of(known_description(text)) >= description_hints.hints_of(text) & {kind}
