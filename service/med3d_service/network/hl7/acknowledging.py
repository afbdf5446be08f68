"""The general acknowledgment (ACK, HL7 v2 chapter 2): whether a message was taken, and if not why."""

import uuid
from datetime import UTC, datetime

from med3d_service.network.hl7.messages import ACCEPTED, REJECTED, SEQUENCE, Header, MessageRefused

US = "INFOVAE-MED3D"
NO_HEADER = Header("|", "^~\\&", "", "", "", "", "", "", "", "P", "2.5", "")
"""To whom says not who they are."""


def acknowledge(header: Header, refused: MessageRefused | None = None) -> bytes:
    """Write the answer to a message; ``refused`` says why it was not taken."""
    bar = header.separator
    component, escape = header.encoding_characters[0], header.encoding_characters[2]
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    kind = component.join(("ACK", header.event, "ACK")) if header.event else "ACK"
    code = ACCEPTED if refused is None else refused.acknowledgment
    to_whom = [header.receiver or US, header.receiver_facility, header.sender, header.sender_facility]
    what = [now, "", kind, uuid.uuid4().hex[:20], header.processing_id or "P", header.version or "2.5"]
    segments = [["MSH", header.encoding_characters, *to_whom, *what], ["MSA", code, header.control_id]]
    if refused is not None:
        text = refused.sentence.replace(escape, " ").replace(bar, " ")
        segments.append(["ERR", "", "", refused.condition, "E", "", "", "", text])
    return "".join(bar.join(fields) + "\r" for fields in segments).encode("latin-1", "replace")


def not_hl7() -> bytes:
    """Answer what was no message at all."""
    return acknowledge(NO_HEADER, MessageRefused(REJECTED, SEQUENCE, "This is no HL7 version 2 message."))
