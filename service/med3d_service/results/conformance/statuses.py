"""Tables of statuses: what the listener and STOW-RS answer, and what is made of peers' answers."""

from med3d_service.network.listener.association import (
    BY_PRESENTATION,
    BY_USER,
    CALLED_UNKNOWN,
    CALLER_UNKNOWN,
    LOCAL_LIMIT,
    OUT_OF_RESOURCES,
    PERMANENT,
    PROCESSING_FAILURE,
    STATUS_OF_REFUSAL,
    SUCCESS,
    TRANSIENT,
    UNKNOWN_OPERATION,
)
from med3d_service.results.conformance.markdown import status_cell, table
from med3d_service.results.delivery import dimse
from med3d_service.studies.arrivals.arrivals import InstanceRefused
from med3d_service.studies.arrivals.store_answer import OUT_OF_RESOURCES as NO_ROOM
from med3d_service.studies.arrivals.store_answer import PROCESSING_FAILURE as BROKEN
from med3d_service.studies.arrivals.store_answer import failure_reason
from med3d_service.studies.dicom_instances.instance_headers import REFUSALS


def rejections() -> str:
    """Return when an association is rejected, and with which words."""
    rows = (
        ("address or calling AE title not on the allow-list", PERMANENT, BY_USER, CALLER_UNKNOWN),
        ("called AE title in no table, where such are rejected", PERMANENT, BY_USER, CALLED_UNKNOWN),
        ("as many associations as are allowed, in all or of this address", TRANSIENT, BY_PRESENTATION, LOCAL_LIMIT),
    )
    return table(("when", "result", "source", "reason"), ((when, *map(str, words)) for when, *words in rows))


def store_statuses() -> str:
    """Return the statuses of C-STORE responses."""
    rows = [
        (status_cell(SUCCESS), "sealed on disk and recorded; also what was there before, and what is not analysed"),
        (status_cell(OUT_OF_RESOURCES), "no room; nothing of it was kept"),
        *((status_cell(status), REFUSALS[code]) for code, status in STATUS_OF_REFUSAL.items()),
        (status_cell(PROCESSING_FAILURE), "a fault of ours; send it again"),
        (status_cell(UNKNOWN_OPERATION), "another operation than C-STORE, C-ECHO and N-EVENT-REPORT"),
    ]
    return table(("status", "when"), rows)


def stow_reasons() -> str:
    """Return the failure reasons of STOW-RS."""
    rows = [
        *((status_cell(failure_reason(InstanceRefused(code))), sentence) for code, sentence in REFUSALS.items()),
        (status_cell(NO_ROOM), "no room left"),
        (status_cell(BROKEN), "a fault of ours; send it again"),
    ]
    return table(("failure reason (0008,1197)", "when"), rows)


def delivery_statuses() -> str:
    """Return what is made of a peer's C-STORE response."""
    taken = (dimse.SUCCESS, *sorted(dimse.WARNINGS))
    never = ", ".join(map(status_cell, sorted(dimse.FINAL_CODES)))
    rows = [
        (", ".join(map(status_cell, taken)), "delivered"),
        (f"{never}, `0xA9xx`, `0xC000` and above", "dead: never sent again unless a person asks for it"),
        ("any other, an abort, no answer", "sent again after growing pauses"),
    ]
    return table(("status", "what follows"), rows)
