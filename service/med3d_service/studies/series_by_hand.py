"""The series that a person chose, in the words in which a run keeps it and a worker looks for it."""

import re

from med3d_service.studies.working_copy.pseudonyms import Pseudonyms

LONGEST_SERIES = 300
_NUMBER = re.compile(r"(?:series\s+)?0*([0-9]{1,10})", re.IGNORECASE)
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")


def series_by_hand(stated: str | None, uid_key: bytes) -> str:
    """Return what stands for ``stated`` in the working copy; empty where the service shall choose.

    A Series Instance UID becomes its stand-in, for originals never leave the service; a number is written in one way,
    so that the same wish finds the same run; a label stays as it is.
    """
    said = " ".join((stated or "").split())
    if number := _NUMBER.fullmatch(said):
        return f"series {number[1]}"
    return Pseudonyms(uid_key).uid(said) if _UID.fullmatch(said) else said
