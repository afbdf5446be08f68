"""Entries as DICOM audit messages (PS3.15 A.5, after RFC 3881), as audit repositories (IHE ATNA) read them.

Ids in them are ours, under the scheme 99MED3D: who a patient is stays in the service.
"""

import ipaddress
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, tostring

from med3d_service.trust.audit.events import Action, Outcome
from med3d_service.trust.audit.tables import AuditRow

OURS = "99MED3D"
EVENTS = {
    # action: (EventID of PS3.16 CID 400, its meaning, EventActionCode)
    Action.READ: ("110110", "Patient Record", "R"),
    Action.SEARCH: ("110112", "Query", "E"),
    Action.RECEIVE: ("110104", "DICOM Instances Transferred", "C"),
    Action.CHANGE: ("110110", "Patient Record", "U"),
    Action.SEND: ("110106", "Export", "R"),
    Action.ERASE: ("110105", "DICOM Study Deleted", "D"),
    Action.ENTER: ("110114", "User Authentication", "E"),
    Action.SECURE: ("110113", "Security Alert", "E"),
    Action.AUDIT: ("110101", "Audit Log Used", "R"),
    Action.START: ("110100", "Application Activity", "E"),
    Action.STOP: ("110100", "Application Activity", "E"),
    Action.BACKUP: ("110106", "Export", "R"),
    Action.RESTORE: ("110107", "Import", "C"),
    Action.ALERT: ("110113", "Security Alert", "E"),
}
TYPES = {
    # CID 401
    Action.ENTER: ("110122", "Login"),
    Action.SECURE: ("110137", "User Security Attributes Changed"),
    Action.START: ("110120", "Application Start"),
    Action.STOP: ("110121", "Application Stop"),
    Action.ALERT: ("110135", "Object Security Attributes Changed"),
}
OUTCOMES = {Outcome.DONE: "0", Outcome.FAILED: "4", Outcome.DENIED: "8"}
"""EventOutcomeIndicator: success, minor failure (to be repeated), serious failure (turned away)."""
SYSTEM_OBJECT, SECURITY_USER, REPORT = "2", "11", "3"


def audit_message(row: AuditRow, source: str, site: str) -> bytes:
    """Return one entry as XML. ``source`` is this service's name, ``site`` its institution's."""
    message = Element("AuditMessage")
    _event(message, row)
    requestor = {"UserID": row.actor or "nobody", "UserIsRequestor": "true", **_network(row.address)}
    participant = SubElement(message, "ActiveParticipant", requestor)
    if row.role:
        _coded(participant, "RoleIDCode", row.role, OURS, row.role)
    SubElement(message, "ActiveParticipant", {"UserID": source, "UserIsRequestor": "false"})
    origin = SubElement(message, "AuditSourceIdentification", {"AuditEnterpriseSiteID": site, "AuditSourceID": source})
    _coded(origin, "AuditSourceTypeCode", "4", "DCM", "Application Server Process")
    if row.object_kind:
        _object(message, row)
    xml: bytes = tostring(message, encoding="utf-8", xml_declaration=False)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + xml


def _event(message: Element, row: AuditRow) -> None:
    action = Action(row.action)
    code, meaning, letter = EVENTS[action]
    at = datetime.fromtimestamp(row.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    outcome = OUTCOMES[Outcome(row.outcome)]
    event = SubElement(
        message,
        "EventIdentification",
        {"EventActionCode": letter, "EventDateTime": at, "EventOutcomeIndicator": outcome},
    )
    _coded(event, "EventID", code, "DCM", meaning)
    if action in TYPES:
        _coded(event, "EventTypeCode", TYPES[action][0], "DCM", TYPES[action][1])
    _coded(event, "EventTypeCode", action, OURS, f"med3d {action}")


def _object(message: Element, row: AuditRow) -> None:
    role = SECURITY_USER if row.action == Action.SECURE else REPORT
    described = {
        "ParticipantObjectID": row.object_id or row.object_kind,
        "ParticipantObjectTypeCode": SYSTEM_OBJECT,
        "ParticipantObjectTypeCodeRole": role,
    }
    if row.action == Action.ERASE:
        described["ParticipantObjectDataLifeCycle"] = "15"  # permanent erasure
    found = SubElement(message, "ParticipantObjectIdentification", described)
    _coded(found, "ParticipantObjectIDTypeCode", row.object_kind, OURS, f"med3d {row.object_kind} id")
    import base64

    value = base64.b64encode(row.detail.encode()).decode()
    SubElement(found, "ParticipantObjectDetail", {"type": "detail", "value": value})
    entry = base64.b64encode(f"{row.seq}:{row.mac}".encode()).decode()
    SubElement(found, "ParticipantObjectDetail", {"type": "entry", "value": entry})


def _coded(parent: Element, name: str, code: str, scheme: str, meaning: str) -> None:
    SubElement(parent, name, {"csd-code": code, "codeSystemName": scheme, "originalText": meaning})


def _network(address: str) -> dict[str, str]:
    if not address:
        return {}
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "1"}
    return {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2"}
