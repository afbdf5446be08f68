"""Which attributes the objects hold that we make: read off objects that are made for it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset, dcmread

from med3d_service.results.conformance.example import OF_THE_IMAGES, bare_answer, bare_findings, full_answer
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.library import renderers
from med3d_service.studies.own_objects import is_own

LONGEST_LITERAL = 60
SHARED_MODULES = "Patient, General Study, General Equipment, SOP Common"
MODULES = {
    Kind.SR: f"{SHARED_MODULES}, SR Document Series, SR Document General, SR Document Content",
    Kind.PDF: f"{SHARED_MODULES}, Encapsulated Document Series, SC Equipment, Encapsulated Document",
    Kind.SC: f"{SHARED_MODULES}, General Series, SC Equipment, General Image, Image Pixel",
    Kind.SEG: f"{SHARED_MODULES}, Segmentation Series, Frame of Reference, Enhanced General Equipment, Image Pixel, "
    "Segmentation Image, Multi-frame Functional Groups, Multi-frame Dimension, Common Instance Reference",
    Kind.EXPLANATION: f"{SHARED_MODULES}, General Series, SC Equipment, General Image, General Reference, Image Pixel",
}


@dataclass(frozen=True)
class HeldAttribute:
    """An attribute of an object, and where its value comes from."""

    tag: str
    name: str
    vr: str
    always: bool
    value: str


def made_objects(facts: ReportFacts) -> dict[Kind, Dataset]:
    """Render each kind of DICOM object of an answer; a segmentation and an explanation where there is one."""
    there = {Kind.SEG: facts.segmented is not None, Kind.EXPLANATION: facts.explanation is not None}
    wanted = {kind: render for kind, render in renderers().items() if there.get(kind, True)}
    return {kind: dcmread(io.BytesIO(render(facts))) for kind, render in wanted.items()}


def held_attributes() -> dict[Kind, list[HeldAttribute]]:
    """Return the attributes of each kind of object, at the level of the data set."""
    full, bare = made_objects(full_answer()), made_objects(bare_answer())
    found = made_objects(bare_findings())
    bare |= {kind: found[kind] for kind in (Kind.SEG, Kind.EXPLANATION)}
    return {kind: list(_attributes(full[kind], bare[kind])) for kind in full}


def _attributes(full: Dataset, bare: Dataset) -> Iterator[HeldAttribute]:
    for element in full:
        other = bare.get(element.tag)
        yield HeldAttribute(
            tag=f"({element.tag.group:04X},{element.tag.element:04X})",
            name=element.name,
            vr=element.VR,
            always=other is not None,
            value=_source_of(element, other),
        )


def _source_of(element: DataElement, other: DataElement | None) -> str:
    if element.VR in {"OB", "OW", "SQ"}:
        return _content_of(element)
    values = element.value if element.VM > 1 else [element.value]
    text = "\\".join(map(str, values))
    if text in OF_THE_IMAGES:
        return "as in the images"
    if element.VR == "UI" and is_own(text):
        return "made: below our root"
    if element.VR in {"DA", "TM", "DT"} or element.keyword == "TimezoneOffsetFromUTC":
        return "the moment of the answer" if text else "empty"
    if other is not None and other.value == element.value and len(text) <= LONGEST_LITERAL:
        return f"`{text}`" if text else "empty"
    return "made"


def _content_of(element: DataElement) -> str:
    return "made" if element.value else "empty"
