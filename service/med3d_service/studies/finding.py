"""Finding studies by what a person types, and saying what to call each: by its patient only for those who may know."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.trust.access import Caller

OF_THE_PATIENT = ("patient_id", "accession_number", "study_uid")


@dataclass(frozen=True)
class Found:
    """Ids of the studies that were found, and the words themselves, which may be an id of ours.

    kinds: of identifiers that were searched by.
    """

    ids: frozenset[str]
    kinds: tuple[str, ...]


def found_by(session: Session, vault: IdentifierVault, caller: Caller, text: str) -> Found:
    """Find studies by the sender's pseudonym or an id of ours; with the clinical grant also by the patient's own."""
    kinds = ("subject", *(OF_THE_PATIENT if caller.clinical else ()))
    ids = {study_id for kind in kinds for study_id in session.scalars(vault.find(kind, text))}
    return Found(frozenset({*ids, text}), kinds)


def names_of(
    session: Session, vault: IdentifierVault, caller: Caller, study_ids: set[str]
) -> Mapping[str, tuple[str, ...]]:
    """Say what to call studies: by patient's name and ID where the caller may know them, else by pseudonym.

    The parts stay apart: beside a name that is written from right to left, the digits of an ID would change places.
    """
    pseudonyms = vault.read_all(session, study_ids, "subject")
    names: dict[str, tuple[str, ...]] = {study_id: (text,) for study_id, text in pseudonyms.items()}
    if caller.clinical:
        patients, ids = (vault.read_all(session, study_ids, kind) for kind in ("patient_name", "patient_id"))
        for study_id in study_ids:
            parts = (readable_name(patients.get(study_id, "")), ids.get(study_id, ""))
            if any(parts):
                names[study_id] = tuple(filter(None, parts))
    return names


def readable_name(name: str) -> str:
    """Return a DICOM name (PS3.5 6.2), the first of its groups that says something, as "Family, Given"."""
    return next(filter(None, map(_readable_group, name.split("="))), "")


def _readable_group(group: str) -> str:
    family, *given = (part.strip() for part in group.split("^"))
    return ", ".join(filter(None, (family, " ".join(filter(None, given)))))
