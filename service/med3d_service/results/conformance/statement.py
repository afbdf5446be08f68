"""The DICOM conformance statement, in the order of PS3.2 annex A; its tables are the code's own."""

from collections.abc import Iterable

from pydicom.datadict import dictionary_description, tag_for_keyword

from med3d_service.network.listener.pdus import ANNOUNCED_BYTES, LONGEST_BYTES
from med3d_service.network.listener.places import ARTIM_S
from med3d_service.network.peers.association import CONNECT_S
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.network.peers.dimse import SERIES_KEYS, STUDY_KEYS
from med3d_service.network.pulls.wanted import StudyQuery, Wanted
from med3d_service.results.conformance import configurable, negotiated, statuses
from med3d_service.results.conformance.created_objects import MODULES, HeldAttribute, held_attributes
from med3d_service.results.conformance.markdown import table, uid_cell
from med3d_service.results.conformance.wording import (
    CHARACTER_SETS,
    DELIVERING,
    DICOMWEB,
    FETCHING,
    INTRODUCTION,
    LISTENING,
    MODEL,
    SECURITY,
    USED_ATTRIBUTES,
    WARNING,
)
from med3d_service.results.kinds import Kind
from med3d_service.results.reports import codes
from med3d_service.studies.dicom_instances.instance_headers import HEADERS_READ
from med3d_service.studies.own_objects import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION, OWN_UID_ROOT
from med3d_service.studies.working_copy.attributes import RULES

KINDS = {
    Kind.SR: "Comprehensive 3D SR",
    Kind.PDF: "Encapsulated PDF",
    Kind.SC: "Secondary Capture Image",
    Kind.SEG: "Segmentation",
    Kind.EXPLANATION: "Secondary Capture Image of the explanation",
}
MATCHED = Wanted(
    query=StudyQuery(patient_id="-", study_date="20000101", study_description="-", modality="MR")
).matching()
"""All keys that a query may be matched by."""


def conformance_statement() -> str:
    """Write the statement."""
    parts = (_overview(), _listener(), _fetcher(), _deliverer(), _dicomweb(), _configuration(), _annexes())
    return "\n\n".join((WARNING, INTRODUCTION, *parts)) + "\n"


def _overview() -> str:
    return MODEL.format(implementation=_implementation(), inputs=negotiated.input_class_names())


def _implementation() -> str:
    rows = (
        ("implementation class UID", uid_cell(IMPLEMENTATION_UID)),
        ("implementation version name", f"`{IMPLEMENTATION_VERSION}`"),
        ("root of the UIDs that are made", uid_cell(OWN_UID_ROOT)),
        ("application context name", uid_cell("1.2.840.10008.3.1.1.1")),
        ("asynchronous operations", "not negotiated: one at a time on an association"),
    )
    return table(("", "value"), rows)


def _listener() -> str:
    return LISTENING.format(
        announced=ANNOUNCED_BYTES,
        longest=LONGEST_BYTES,
        artim_s=f"{ARTIM_S:g}",
        idle_s=configurable.default_of("dicom_idle_s"),
        most=configurable.default_of("dicom_associations"),
        most_of_one=configurable.default_of("dicom_associations_per_address"),
        accepted=negotiated.accepted_contexts(),
        names=negotiated.names_of_syntaxes(),
        rejections=statuses.rejections(),
        statuses=statuses.store_statuses(),
    )


def _fetcher() -> str:
    return FETCHING.format(
        timeouts=_timeouts(),
        proposed=negotiated.proposed_to_fetch(),
        matched=_keywords((*Wanted(study_uid="1").matching(), *Wanted(accession="-").matching(), *MATCHED)),
        study_keys=_keywords(STUDY_KEYS),
        series_keys=_keywords(SERIES_KEYS),
        tried=negotiated.proposed_to_try(),
    )


def _timeouts() -> str:
    silence_s = DimsePeer.model_fields["timeout_s"].default
    return table(
        ("timeout", "seconds"),
        (
            ("connection", f"{CONNECT_S:g}, or `timeout_s` of the peer where that is less"),
            ("association, DIMSE response, silence in the middle of a PDU", f"`timeout_s` of the peer ({silence_s:g})"),
        ),
    )


def _deliverer() -> str:
    return DELIVERING.format(
        timeouts=_timeouts(), proposed=negotiated.proposed_to_deliver(), statuses=statuses.delivery_statuses()
    )


def _dicomweb() -> str:
    return DICOMWEB.format(reasons=statuses.stow_reasons())


def _configuration() -> str:
    peers = "A peer, in the file that `MED3D_PEERS_FILE` names ([how](pacs.md#peers)):"
    tables = configurable.settings_table(), peers, configurable.peers_table()
    return "\n\n".join(("## Configuration", *tables, CHARACTER_SETS, SECURITY))


def _annexes() -> str:
    held = held_attributes()
    return "\n\n".join(
        (
            "## Objects that are made",
            *(_object(kind, held[kind]) for kind in KINDS),
            USED_ATTRIBUTES.format(headers=_keywords(HEADERS_READ.values()), kept=", ".join(_names_kept())),
            "## Coded terms",
            "Private scheme `99MED3D` ([what each means](codes.md)):",
            table(("code", "meaning"), ((f"`{one.value}`", one.meaning) for one in codes.OWN_CODES)),
        )
    )


def _object(kind: Kind, attributes: list[HeldAttribute]) -> str:
    rows = ((one.tag, one.name, one.vr, "always" if one.always else "where known", one.value) for one in attributes)
    head = ("tag", "attribute", "VR", "there", "value")
    return f"### {KINDS[kind]}\n\nModules: {MODULES[kind]}.\n\n{table(head, rows)}"


def _keywords(keywords: Iterable[str]) -> str:
    return ", ".join(sorted({_described(keyword) for keyword in keywords}))


def _described(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _names_kept() -> list[str]:
    """Return the attributes that analysis sees, by name; private ones by their tag."""
    named = [
        f"({tag >> 16:04X},{tag & 0xFFFF:04X})" if (tag >> 16) % 2 else dictionary_description(tag) for tag in RULES
    ]
    return sorted(named)
