"""The statements are the code's own: the pages in docs/ are what the program writes, and objects hold what they say."""

import io
import re
from pathlib import Path

import pytest
from pydicom import dcmread

from med3d_service.results.conformance import write_statements
from med3d_service.results.conformance.created_objects import held_attributes
from med3d_service.results.kinds import DICOM_KINDS, Kind
from med3d_service.results.reports.library import renderers
from med3d_service.settings import Settings
from rig.service.facts import explained, facts, refused_facts, segmented_head

DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture(scope="module")
def held():
    return held_attributes()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statements")
    write_statements(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["conformance.md", "ihe.md"])
def test_the_pages_are_what_the_program_writes(written, name):
    assert written[name] == (DOCS / name).read_text(encoding="utf-8"), "run: med3d pacs conformance docs"


ANSWERS = [(kind, facts(segmented=segmented_head(), explanation=explained())) for kind in sorted(DICOM_KINDS)]
REFUSED = [(kind, refused_facts()) for kind in sorted(DICOM_KINDS - {Kind.SEG, Kind.EXPLANATION})]


@pytest.mark.parametrize(("kind", "answer"), ANSWERS + REFUSED)
def test_an_object_holds_what_the_statement_says_and_nothing_else(held, kind, answer):
    stated = {one.tag: one for one in held[kind]}
    made = dcmread(io.BytesIO(renderers()[kind](answer)))
    found = {f"({element.tag.group:04X},{element.tag.element:04X})": element for element in made}
    assert found.keys() <= stated.keys()
    assert {tag for tag, one in stated.items() if one.always} <= found.keys()
    for tag, element in found.items():
        if (literal := re.fullmatch(r"`(.*)`", stated[tag].value)) is not None and element.VM == 1:
            assert str(element.value) == literal[1], tag


def test_what_identifies_a_patient_is_as_in_the_images(held):
    of_the_images = {one.name for one in held["sr"] if one.value == "as in the images"}
    assert of_the_images >= {"Patient's Name", "Patient ID", "Patient's Birth Date", "Accession Number", "Study Date"}


def test_every_setting_of_the_network_is_stated(written):
    page = written["conformance.md"]
    named = {name for name in Settings.model_fields if name.startswith(("dicom_", "delivery_", "pull_"))}
    assert {name for name in named if f"`MED3D_{name.upper()}`" not in page} == set()
