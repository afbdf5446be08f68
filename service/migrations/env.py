"""Alembic's entry: the connection comes from storage.database, or from the settings on the command line."""

from alembic import context
from sqlalchemy import Connection

from med3d_service.cohorts import tables as cohort_tables  # noqa: F401 - so that Base knows them
from med3d_service.custody.erasure import tables as erasure_tables  # noqa: F401 - so that Base knows them
from med3d_service.custody.ledger import tables as ledger_tables  # noqa: F401 - so that Base knows them
from med3d_service.custody.retention import tables as retention_tables  # noqa: F401 - so that Base knows them
from med3d_service.network.pulls import tables as pull_tables  # noqa: F401 - so that Base knows them
from med3d_service.settings import Settings
from med3d_service.storage import (
    arrival_tables,  # noqa: F401 - so that Base knows them
    counters,  # noqa: F401 - so that Base knows them
    repetition_tables,  # noqa: F401 - so that Base knows them
    saved_view_tables,  # noqa: F401 - so that Base knows them
)
from med3d_service.storage.database import Database
from med3d_service.storage.tables import Base
from med3d_service.trust.access import session_tables  # noqa: F401 - so that Base knows them
from med3d_service.trust.audit import tables as audit_tables  # noqa: F401 - so that Base knows them


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    database = Database(Settings().database)
    with database.engine.connect() as own:
        migrate(own)
    database.close()
