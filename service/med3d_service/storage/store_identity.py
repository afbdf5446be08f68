"""Which store the database belongs to: the id in the store's marker, recorded when the store was made or first seen."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.settings import Settings
from med3d_service.storage.database import Database, db_now
from med3d_service.storage.tables import StoreIdentityRow, StudyRow
from med3d_store.object_store import ObjectStore, StoreChangedError

THE_ONE = 1


def open_store(settings: Settings, database: Database) -> ObjectStore:
    """Open the store of the settings; a local one is used only while it is the one that ``database`` knows."""
    return ObjectStore.open(settings.store, expected=lambda: recorded_identity(database))


def recorded_identity(database: Database) -> str | None:
    """Return the id of the store that the database belongs to; None before there was one."""
    with database.read() as session:
        return session.scalar(select(StoreIdentityRow.store_id))


def establish_store(settings: Settings, database: Database) -> None:
    """Make the store, or take the one that is there, where the database knows of none. Raises ValueError, StoreError.

    Never where it knows of one: what is not there then has gone away, and comes back by an operator's hand.
    """
    if recorded_identity(database) is not None:
        return
    if _has_copies(database) and ObjectStore.open(settings.store).is_empty():
        raise ValueError(
            "the database holds studies, and the store is empty or not there: mount it or mend MED3D_STORE_URL, "
            "or bring the objects back with 'med3d restore BACKUPS --objects'"
        )
    record_store(ObjectStore.make(settings.store), database)


def record_store(store: ObjectStore, database: Database) -> None:
    """Let the database belong to ``store`` from now on."""
    identity = store.identity()
    assert identity is not None
    with database.write() as session:
        _record(session, identity)


def require_recorded(store: ObjectStore, database: Database) -> None:
    """Raise StoreChangedError unless ``store`` is the one that the database belongs to."""
    recorded = recorded_identity(database)
    if recorded is None or store.identity() != recorded:
        raise StoreChangedError("where the store was there is none, or another one")


def _record(session: Session, identity: str) -> None:
    session.merge(StoreIdentityRow(id=THE_ONE, store_id=identity, recorded_at=db_now()))


def _has_copies(database: Database) -> bool:
    with database.read() as session:
        return session.scalar(select(StudyRow.id).where(StudyRow.working_key.is_not(None)).limit(1)) is not None
