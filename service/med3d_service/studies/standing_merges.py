"""Merges that are kept for images that come later: an identifier that was merged away names nobody any more.

Of each only the blind index of the identifier lies open. A merge that says that an identifier stays ends those by which
it had become, in however many steps, the one that goes now: the later message counts, and no chain has a ring.
"""

import uuid
from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from med3d_service.storage.arrival_tables import PatientUpdateRow
from med3d_service.storage.database import now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.studies.patient_corrections import ID, KnownAs, PatientUpdate, UpdateRefusedError

LONGEST_CHAIN, MOST_MERGES = 20, 100


def keep_merge(session: Session, vault: IdentifierVault, site: str, update: PatientUpdate, authority: str) -> None:
    """Keep a merge in place of what was kept of the same identifiers; none of which it is not clear what it means."""
    for sought, new in _becoming(update, authority):
        prior, becomes = vault.blind_index(ID, sought.patient_id), vault.blind_index(ID, new.patient_id)
        if prior == becomes:
            continue
        if prior in _becomes(session, site, becomes):
            _forget(session, site, becomes)
        _forget(session, site, prior)
        row_id = str(uuid.uuid4())
        session.add(
            PatientUpdateRow(
                id=row_id,
                site=site,
                patient_index=prior,
                becomes_index=becomes,
                told=vault.seal(update.written(), row_id),
                told_at=now_of(session),
            )
        )
        session.flush()


def _becoming(update: PatientUpdate, authority: str) -> Iterator[tuple[KnownAs, KnownAs]]:
    for sought in update.sought:
        with suppress(UpdateRefusedError):  # it is told to the sender where a study of ours is meant
            if not authority:
                update.require_one_authority()
            new = update.becomes_of(KnownAs(sought.patient_id, sought.authority or authority))
            if new is not None:
                yield sought, new


def merges_of(
    session: Session, vault: IdentifierVault, site: str, patient_id: str, *, since: float = 0.0
) -> list[tuple[str, PatientUpdate, str]]:
    """Return the merges by which an identifier has become another one, step by step, each between the indices of both.

    None before ``since``.
    """
    return [
        (row.patient_index, _read(vault, row), row.becomes_index)
        for row in _chain(session, site, vault.blind_index(ID, patient_id))
        if row.told_at >= since
    ]


def merges_into(session: Session, vault: IdentifierVault, site: str, index: str) -> list[PatientUpdate]:
    """Return the merges by which other identifiers have become that of ``index``, in however many steps."""
    found, looked_at, waiting = list[PatientUpdate](), set[str](), {index}
    while waiting and len(found) < MOST_MERGES:
        asked = PatientUpdateRow.site == site, PatientUpdateRow.becomes_index.in_(waiting)
        rows = session.scalars(select(PatientUpdateRow).where(*asked).order_by(PatientUpdateRow.seq)).all()
        found += [_read(vault, row) for row in rows]
        looked_at |= waiting
        waiting = {row.patient_index for row in rows} - looked_at
    return found


def _read(vault: IdentifierVault, row: PatientUpdateRow) -> PatientUpdate:
    return PatientUpdate.read(vault.unseal(row.told, row.id))


def _becomes(session: Session, site: str, index: str) -> list[str]:
    return [row.becomes_index for row in _chain(session, site, index)]


def _chain(session: Session, site: str, index: str) -> Iterator[PatientUpdateRow]:
    for _ in range(LONGEST_CHAIN):
        asked = PatientUpdateRow.site == site, PatientUpdateRow.patient_index == index
        row = session.scalars(select(PatientUpdateRow).where(*asked)).first()
        if row is None:
            return
        yield row
        index = row.becomes_index


def _forget(session: Session, site: str, index: str) -> None:
    asked = PatientUpdateRow.site == site, PatientUpdateRow.patient_index == index
    session.execute(delete(PatientUpdateRow).where(*asked))
