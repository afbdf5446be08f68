"""What can be sent of a run, and the identity that follows from run and kind."""

import uuid
from enum import StrEnum

from med3d_service.studies.own_objects import own_uid

EVENTS = uuid.UUID("5b0f1a52-7a55-4d0e-9a3f-3a7a6f0c2d11")
"""Name space of the ids of events and deliveries (UUID version 5)."""


class Kind(StrEnum):
    """What can be sent of a run."""

    SR = "sr"
    PDF = "pdf"
    SC = "sc"
    SEG = "seg"
    EXPLANATION = "explanation"
    EVENT = "event"
    FHIR = "fhir"
    ORU = "oru"
    ORU_PDF = "oru_pdf"


STATED_KINDS = frozenset({Kind.FHIR, Kind.ORU, Kind.ORU_PDF})
"""Say how an answer stands: made when they are sent, and sent again when a person gives a verdict."""
HL7_KINDS = frozenset({Kind.ORU, Kind.ORU_PDF})
DICOM_KINDS = frozenset({Kind.SR, Kind.PDF, Kind.SC, Kind.SEG, Kind.EXPLANATION})


def object_uid(run_id: str, kind: Kind) -> str:
    """Return SOP Instance UID of a DICOM object, id of an event: the same for the same run and kind, for ever."""
    return own_uid(run_id, kind) if kind in DICOM_KINDS else str(uuid.uuid5(EVENTS, f"{run_id}/{kind}"))
