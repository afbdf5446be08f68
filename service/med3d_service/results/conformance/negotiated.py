"""Tables of what is negotiated (PS3.7 annex D), from the very contexts that the service proposes and accepts."""

from collections.abc import Iterable, Iterator

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from med3d_service.network.listener.negotiation import provided_contexts
from med3d_service.network.peers.dimse import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    contexts_of_get,
)
from med3d_service.results.conformance.created_objects import made_objects
from med3d_service.results.conformance.example import full_answer
from med3d_service.results.conformance.markdown import name_of, syntaxes, table, uid_cell
from med3d_service.results.delivery.dimse import contexts_for
from med3d_service.studies.dicom_instances.instance_headers import INPUT_CLASSES

HEAD = ("abstract syntax", "UID", "transfer syntaxes", "role", "extended negotiation")


def accepted_contexts() -> str:
    """Return what the listener accepts."""
    return table(HEAD, (_row(one, _role_at_listener(one)) for one in provided_contexts()))


def _role_at_listener(context: PresentationContext) -> str:
    if context.abstract_syntax == StorageCommitmentPushModel:
        return "SCU (the peer selects the SCP role)"
    return "SCP"


def proposed_to_fetch() -> str:
    """Return what is proposed to a peer that studies are fetched from."""
    models = [build_context(uid) for uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET)]
    rows = [
        *(_row(one, "SCU") for one in models),
        *(_row(one, "SCP (within a C-GET)", "SCP role selected") for one in _merged(contexts_of_get())),
    ]
    return table(HEAD, rows)


def proposed_to_deliver() -> str:
    """Return what is proposed to a peer that objects are delivered to."""
    objects = made_objects(full_answer()).values()
    proposed = _merged(context for one in objects for context in contexts_for(one, commitment=True))
    return table(HEAD, (_row(one, "SCU") for one in proposed))


def proposed_to_try() -> str:
    """Return what is proposed when a peer is tried by hand, beside what else it is used for."""
    return table(HEAD, [_row(build_context(Verification), "SCU")])


def _merged(contexts: Iterable[PresentationContext]) -> Iterator[PresentationContext]:
    """Put contexts of one class together: several are proposed so that the peer chooses for each syntax."""
    merged: dict[str, list[str]] = {}
    for context in contexts:
        known = merged.setdefault(str(context.abstract_syntax), [])
        known += [str(syntax) for syntax in context.transfer_syntax or () if str(syntax) not in known]
    return (build_context(uid, found) for uid, found in merged.items())


def _row(context: PresentationContext, role: str, extended: str = "none") -> tuple[str, ...]:
    uid = str(context.abstract_syntax)
    return name_of(uid), uid_cell(uid), syntaxes(map(str, context.transfer_syntax or ())), role, extended


def names_of_syntaxes() -> str:
    """Return the transfer syntaxes of all these tables by name."""
    every = {
        str(one) for context in (*provided_contexts(), *contexts_of_get()) for one in context.transfer_syntax or ()
    }
    return table(("UID", "transfer syntax"), ((uid_cell(uid), name_of(uid)) for uid in sorted(every)))


def input_class_names() -> str:
    """Return the classes that are analysed, by name."""
    return ", ".join(sorted(name_of(uid) for uid in INPUT_CLASSES))
