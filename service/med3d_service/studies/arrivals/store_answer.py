"""The answer to a STOW-RS request: what became of each instance, in DICOM JSON (PS3.18 10.5.3 and Annex I.2)."""

from collections.abc import Sequence
from typing import Any

from med3d_service.studies.arrivals.arrivals import InstanceRefused, StoreFull
from med3d_service.studies.arrivals.instance_parts import TakenPart

STORED, PARTLY_STORED, NONE_STORED = 200, 202, 409

# Failure reasons of PS3.18 Annex I.2.2.
PROCESSING_FAILURE, OUT_OF_RESOURCES = 0x0110, 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
SOP_CLASS_NOT_SUPPORTED, TRANSFER_SYNTAX_NOT_SUPPORTED, CANNOT_UNDERSTAND = 0x0122, 0xC122, 0xC000
_REFUSALS = {
    "other_study": DATA_SET_DOES_NOT_MATCH,
    "unsupported_sop_class": SOP_CLASS_NOT_SUPPORTED,
    "unsupported_transfer_syntax": TRANSFER_SYNTAX_NOT_SUPPORTED,
}


def store_status(parts: Sequence[TakenPart]) -> int:
    """Return 200 where all were taken, 202 where some were, 409 where none was."""
    taken = sum(part.error is None for part in parts)
    if taken == len(parts):
        return STORED
    return PARTLY_STORED if taken else NONE_STORED


def store_answer(parts: Sequence[TakenPart]) -> dict[str, Any]:
    """Return the DICOM JSON object: referenced instances, failed ones by reason, and failures that no UID names."""
    referenced = [_references(part) for part in parts if part.error is None and _is_named(part)]
    failed = [_references(part) | _reason(part) for part in parts if part.error is not None and _is_named(part)]
    nameless = [_reason(part) for part in parts if part.error is not None and not _is_named(part)]
    answer: dict[str, Any] = {}
    for tag, items in (("00081198", failed), ("00081199", referenced), ("0008119A", nameless)):
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    return answer


def failure_reason(error: Exception) -> int:
    """Return the failure reason of an instance that was not taken."""
    if isinstance(error, StoreFull):
        return OUT_OF_RESOURCES
    if isinstance(error, InstanceRefused):
        return _REFUSALS.get(error.code, CANNOT_UNDERSTAND)
    return PROCESSING_FAILURE


def _is_named(part: TakenPart) -> bool:
    return part.meta.sop_instance_uid is not None and part.meta.sop_class_uid is not None


def _references(part: TakenPart) -> dict[str, Any]:
    # There is no Retrieve URL (0008,1190): what is sent here cannot be had back as DICOM.
    return {
        "00081150": {"vr": "UI", "Value": [part.meta.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [part.meta.sop_instance_uid]},
    }


def _reason(part: TakenPart) -> dict[str, Any]:
    assert part.error is not None
    return {"00081197": {"vr": "US", "Value": [failure_reason(part.error)]}}
