"""Opening an association (PS3.8 7.1): pynetdicom reads the request, agrees on contexts and writes the acceptance."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from med3d_service.network.listener.pdus import ANNOUNCED_BYTES, ProtocolError
from med3d_service.network.peers.ae_titles import LONGEST, read_ae_title
from med3d_service.studies.dicom_instances.instance_headers import DERIVED_CLASSES, INPUT_CLASSES, TRANSFER_SYNTAXES
from med3d_service.studies.own_objects import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_TITLES = {"called": slice(10, 26), "calling": slice(26, 42)}
"""Where AE titles stand in the request (PS3.8 9.3.2)."""
NO_TITLE = "(no AE title)"
"""What is told and logged in place of one that is malformed: what stands there may be a patient's name."""
_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]


@dataclass(frozen=True)
class Asked:
    """A request for an association."""

    calling_ae_title: str
    called_ae_title: str
    primitive: A_ASSOCIATE
    malformed: frozenset[str] = frozenset()
    """``calling`` and ``called`` where what stands in that place is no AE title; then it is told as NO_TITLE."""


@dataclass(frozen=True)
class Agreed:
    """What was agreed on: (SOP class, transfer syntax) by context id, and the acceptance to send."""

    contexts: Mapping[int, tuple[str, str]]
    acceptance: bytes


def read_request(pdu: bytes) -> Asked:
    """Read an A-ASSOCIATE-RQ, header and all. Raises ProtocolError."""
    try:
        titles, malformed = {}, set()
        for name, place in _TITLES.items():
            try:
                titles[name] = read_ae_title(pdu[place].decode("ascii").rstrip("\0"))  # so old ones pad
            except ValueError:
                titles[name] = NO_TITLE
                malformed.add(name)
            # The library reads no request with a title that is none.
            known = b"MALFORMED" if name in malformed else titles[name].encode("ascii")
            pdu = pdu[: place.start] + known.ljust(LONGEST) + pdu[place.stop :]
        request = A_ASSOCIATE_RQ()
        request.decode(pdu)
        return Asked(titles["calling"], titles["called"], request.to_primitive(), frozenset(malformed))
    except Exception as error:  # the edge: a codec raises anything on garbage
        raise ProtocolError("no association request") from error


def agree(asked: Asked) -> Agreed:
    """Accept what we provide and refuse the other contexts. Raises ProtocolError for a request of another protocol."""
    wanted = asked.primitive
    try:
        roles = {
            item.sop_class_uid: (item.scu_role, item.scp_role)
            for item in wanted.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid is not None
        }
        results, role_items = negotiate_as_acceptor(
            wanted.presentation_context_definition_list, provided_contexts(), roles or None
        )
        accepted = {
            context.context_id: (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in results
            if context.result == 0 and context.context_id is not None
        }
        return Agreed(accepted, _acceptance(wanted, results, role_items))
    except Exception as error:  # the edge: as above
        raise ProtocolError("no association request") from error


def provided_contexts() -> list[PresentationContext]:
    """Return what the listener offers, whoever asks: the conformance statement is written from it, too."""
    storage = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in sorted(INPUT_CLASSES | DERIVED_CLASSES)]
    reports = build_context(StorageCommitmentPushModel, _UNCOMPRESSED)
    # The peer that reports provides the service, though it opens the association: it selects its role (PS3.7 D.3.3.4).
    reports.scu_role, reports.scp_role = False, True
    return [build_context(Verification, _UNCOMPRESSED), reports, *storage]


def _acceptance(
    wanted: A_ASSOCIATE,
    results: list[PresentationContext],
    role_items: list[SCP_SCU_RoleSelectionNegotiation],
) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = wanted.calling_ae_title
    primitive.called_ae_title = wanted.called_ae_title
    primitive.result, primitive.result_source = 0x00, 0x01
    primitive.presentation_context_definition_results_list = results
    longest = MaximumLengthNotification()
    longest.maximum_length_received = ANNOUNCED_BYTES
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_UID)
    name = ImplementationVersionNameNotification()
    name.implementation_version_name = IMPLEMENTATION_VERSION
    primitive.user_information = [longest, implementation, name, *role_items]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())
