"""What messages have said of a study's patient, for images that are read later: they know nothing of it.

A working copy is made again when more comes or when what was damaged is mended, and each time whose the images are is
read from the images. What was said since they came, or were corrected at the PACS, goes before what they say.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from med3d_service.storage.arrival_tables import ArrivalRow, PatientUpdateRow, RetiredIdentityRow
from med3d_service.storage.database import now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.studies.patient_corrections import PatientUpdate
from med3d_service.studies.standing_merges import merges_into, merges_of


@dataclass(frozen=True)
class Meant:
    """What an update is remembered for: a study, an arriving study, or both."""

    study_id: str | None
    arrival_id: str | None


def remember(
    session: Session, vault: IdentifierVault, update: PatientUpdate, meant: Meant, prior: str, becomes: str
) -> None:
    """Keep an update, sealed. By it the PatientID of index ``prior``, also of late images, became ``becomes``."""
    row_id = str(uuid.uuid4())
    session.add(
        PatientUpdateRow(
            id=row_id,
            study_id=meant.study_id,
            arrival_id=meant.arrival_id,
            patient_index=prior,
            becomes_index=becomes,
            told=vault.seal(update.written(), row_id),
            told_at=now_of(session),
        )
    )
    session.flush()


def told_of(session: Session, vault: IdentifierVault, study_id: str) -> list[PatientUpdate]:
    """Return the updates that images of a study do not know of, the oldest first."""
    query = (
        select(PatientUpdateRow)
        .where(or_(PatientUpdateRow.study_id == study_id, PatientUpdateRow.arrival_id.in_(_arrivals(study_id))))
        .where(PatientUpdateRow.told_at >= _corrected_at(session, study_id))
        .order_by(PatientUpdateRow.seq)
    )
    return [PatientUpdate.read(vault.unseal(row.told, row.id)) for row in session.scalars(query)]


def merges_before(session: Session, vault: IdentifierVault, site: str, study_id: str) -> list[PatientUpdate]:
    """Return the merges into the patient under whose id images of a study have arrived.

    Told before any of them came.
    """
    ids = select(ArrivalRow.patient_index).where(ArrivalRow.id.in_(_arrivals(study_id)))
    return [one for index in session.scalars(ids) if index for one in merges_into(session, vault, site, index)]


def remember_merges(
    session: Session, vault: IdentifierVault, site: str, study_id: str, patient_id: str
) -> list[PatientUpdate]:
    """Keep for a study the merges by which ``patient_id``, as it was read, has become another one, in their order."""
    found = merges_of(session, vault, site, patient_id, since=_corrected_at(session, study_id))
    arrivals: list[str | None] = [*session.scalars(_arrivals(study_id))]
    for prior, update, becomes in found:
        for arrival_id in arrivals or [None]:
            remember(session, vault, update, Meant(study_id, arrival_id), prior, becomes)
    return [update for _, update, _ in found]


def _arrivals(study_id: str) -> Select[str]:
    return select(ArrivalRow.id).where(or_(ArrivalRow.study_id == study_id, ArrivalRow.late_study_id == study_id))


def _corrected_at(session: Session, study_id: str) -> float:
    """Tell when the patient was corrected at the PACS: from then on the images know better."""
    latest = select(func.max(RetiredIdentityRow.retired_at))
    return session.scalars(latest.where(RetiredIdentityRow.arrival_id.in_(_arrivals(study_id)))).one() or 0.0
