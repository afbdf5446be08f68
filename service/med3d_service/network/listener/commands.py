"""DIMSE command sets of what is provided (PS3.7 9.3.1, 9.3.5, 10.3.1): implicit VR little endian."""

import struct
from dataclasses import dataclass

from med3d_service.network.listener.pdus import ProtocolError

C_STORE_RQ, C_ECHO_RQ, N_EVENT_REPORT_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0100, 0x0FFF
RESPONSE = 0x8000
NO_DATA_SET = 0x0101
LONGEST_BYTES = 64 * 1024
_ELEMENT = struct.Struct("<HHI")


@dataclass(frozen=True)
class Request:
    """A request's command set. UIDs as they were sent; ``event_type`` is 0 for what is no event report."""

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool
    event_type: int = 0


def read_request(command: bytes) -> Request:
    """Read a command set. Raises ProtocolError where it is none."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ELEMENT.size <= len(command):
        group, element, length = _ELEMENT.unpack_from(command, at)
        at += _ELEMENT.size
        if group != 0 or at + length > len(command):
            raise ProtocolError("no command set")
        found[element] = command[at : at + length]
        at += length
    return Request(
        field=_number(found, 0x0100),
        message_id=_number(found, 0x0110),
        sop_class_uid=_uid(found, 0x0002),
        sop_instance_uid=_uid(found, 0x1000),
        has_data_set=_number(found, 0x0800) != NO_DATA_SET,
        event_type=_number(found, 0x1002) if 0x1002 in found else 0,
    )


def response(request: Request, status: int) -> bytes:
    """Return the command set that answers ``request``: no data set, UIDs as in the request."""
    elements = _element(0x0002, _text(request.sop_class_uid)) if request.sop_class_uid else b""
    for element, number in (
        (0x0100, request.field | RESPONSE),
        (0x0120, request.message_id),
        (0x0800, NO_DATA_SET),
        (0x0900, status),
    ):
        elements += _element(element, struct.pack("<H", number))
    if request.sop_instance_uid:
        elements += _element(0x1000, _text(request.sop_instance_uid))
    return _element(0x0000, struct.pack("<I", len(elements))) + elements


def _element(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, len(value)) + value


def _text(uid: str) -> bytes:
    value = uid.encode("latin-1")
    return value + b"\0" * (len(value) % 2)


def _number(found: dict[int, bytes], element: int) -> int:
    value = found.get(element, b"")
    if len(value) != 2:
        raise ProtocolError("a command set lacks an element")
    return int.from_bytes(value, "little")


def _uid(found: dict[int, bytes], element: int) -> str:
    return found.get(element, b"").decode("latin-1").rstrip("\0 ")
