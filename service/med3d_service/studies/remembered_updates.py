"""What messages have said of a study's patient, for images that are read later: they know nothing of it.

A working copy is made again when more comes or when what was damaged is mended, and each time whose the images are is
read from the images. What was said since they came, or were corrected at the PACS, goes before what they say.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from med3d_service.storage.arrival_tables import ArrivalRow, PatientUpdateRow, RetiredIdentityRow
from med3d_service.storage.database import db_now
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.studies.patient_corrections import ID, PatientUpdate


@dataclass(frozen=True)
class Meant:
    """What an update is remembered for: a study, an arriving study, or both."""

    study_id: str | None
    arrival_id: str | None


def remember(
    session: Session, vault: IdentifierVault, update: PatientUpdate, meant: Meant, patient_id: str, becomes: str
) -> None:
    """Keep an update, sealed. ``patient_id`` becomes ``becomes`` by it; late images under the old one are theirs."""
    row_id = str(uuid.uuid4())
    session.add(
        PatientUpdateRow(
            id=row_id,
            study_id=meant.study_id,
            arrival_id=meant.arrival_id,
            patient_index=vault.blind_index(ID, patient_id),
            becomes_index=vault.blind_index(ID, becomes),
            told=vault.seal(update.written(), row_id),
            told_at=session.execute(select(db_now())).scalar_one(),
        )
    )
    session.flush()


def told_of(session: Session, vault: IdentifierVault, study_id: str) -> list[PatientUpdate]:
    """The updates that images of a study do not know of, the oldest first."""
    arrivals = select(ArrivalRow.id).where(or_(ArrivalRow.study_id == study_id, ArrivalRow.late_study_id == study_id))
    latest = select(func.max(RetiredIdentityRow.retired_at)).where(RetiredIdentityRow.arrival_id.in_(arrivals))
    corrected_at = session.scalars(latest).one() or 0.0  # at the PACS: from then on the images know better
    query = (
        select(PatientUpdateRow)
        .where(or_(PatientUpdateRow.study_id == study_id, PatientUpdateRow.arrival_id.in_(arrivals)))
        .where(PatientUpdateRow.told_at >= corrected_at)
        .order_by(PatientUpdateRow.seq)
    )
    return [PatientUpdate.read(vault.unseal(row.told, row.id)) for row in session.scalars(query)]
