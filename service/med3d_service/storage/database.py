"""Connections and transactions: SQLite (WAL) on one machine, PostgreSQL at scale."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Double, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql.expression import FunctionElement

from med3d_service.settings import Settings

if TYPE_CHECKING:  # Alembic is slow to import, and only migrations need it
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from med3d_service.storage.guard import Guard

BUSY_TIMEOUT_MS = 10_000
SQLITE_SYNCHRONOUS = frozenset({"FULL", "NORMAL"})
"""FULL is the default: what was committed outlives a loss of power. With ``?synchronous=normal``, the process."""


class SchemaError(ValueError):
    """The database's schema is not this version's; the message says what to do."""


class db_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """Seconds since 1970 (UTC) by the database's clock."""

    type = Double()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(_element: Any, _compiler: Any, **_kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql_now(_element: Any, _compiler: Any, **_kw: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


def now_of(session: Session) -> float:
    """Return seconds since 1970 (UTC) by the database's clock, now and not as the transaction began."""
    return session.execute(select(db_now())).scalar_one()


class Database:
    """One pool of connections. ``read`` and ``write`` are the only ways to a session.

    Who reads or writes rows that grant or prove gives a ``guard`` (``open_database``); without one nothing is judged.
    """

    def __init__(self, url: str, guard: "Guard | None" = None) -> None:
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(med3d_write=True)
        self.guard = guard
        self._session = sessionmaker(expire_on_commit=False, info={"guard": guard})
        if guard is not None:
            event.listen(self._session, "before_flush", guard.seal_changes)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that changes nothing."""
        try:
            with self._session(bind=self.engine) as session:
                yield session
        finally:
            self._tell()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open one transaction, committed at the end of the block and rolled back on any error."""
        try:
            with self._session(bind=self._writing) as session, session.begin():
                yield session
        finally:
            self._tell()

    def _tell(self) -> None:
        """Tell of forged rows that were met, now that no transaction is open."""
        if self.guard is not None:
            self.guard.tell()

    @contextmanager
    def write_rows(self) -> Iterator[Connection]:
        """Return ``write`` without the session, for the few places where thousands of rows per second come by."""
        with self._writing.begin() as connection:
            yield connection

    def now(self) -> float:
        """Ask the database for its time."""
        with self.read() as session:
            return now_of(session)

    def close(self) -> None:
        """Close the pool."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        synchronous = str(parsed.query.get("synchronous", "FULL")).upper()
        if synchronous not in SQLITE_SYNCHRONOUS:
            raise ValueError("the database URL's 'synchronous' is full or normal")
        engine = create_engine(parsed.difference_update_query(["synchronous"]), hide_parameters=True)
        event.listen(engine, "connect", partial(_prepare_sqlite, synchronous=synchronous))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(
        parsed,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        connect_args={"connect_timeout": 5},
    )


def _prepare_sqlite(connection: Any, _record: Any, *, synchronous: str) -> None:
    connection.isolation_level = None  # BEGIN is ours: sqlite3's own comes too late to lock
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer that starts as a reader cannot wait for its turn (SQLITE_BUSY at once), so it says what it is.
    writing = connection.get_execution_options().get("med3d_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def migrations_dir() -> Path:
    """Find Alembic's folder: inside the package in a wheel, beside it in a checkout."""
    here = Path(__file__).parents[1]
    packaged = here / "migrations"
    return packaged if packaged.is_dir() else here.parent / "migrations"


def migration_scripts() -> "ScriptDirectory":
    """Read which migrations there are, in all folders below ``versions``."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(migrations_dir()), recursive_version_locations=True)


def alembic_config(connection: Connection) -> "Config":
    """Return Alembic's configuration for an open connection."""
    from alembic.config import Config

    config = Config(stdout=sys.stdout)  # its default is what stdout was when Alembic was imported
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("recursive_version_locations", "true")
    config.attributes["connection"] = connection
    return config


def require_schema(settings: Settings) -> None:
    """Raise SchemaError where the database cannot be reached, or its schema is not this version's."""
    found, scripts = _revision(settings), migration_scripts()
    if found is None:
        raise SchemaError("the database has no schema yet: start the service once, which makes it")
    if found != scripts.get_current_head():
        _require_known(found, scripts)
        raise SchemaError(
            f"the database's schema ({found}) is of an earlier version: start the service, which brings it forward; to "
            "back it up before that, use the version that it was made with"
        )


def _revision(settings: Settings) -> str | None:
    from alembic.runtime.migration import MigrationContext

    database = Database(settings.database)
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        said = str(error.orig).strip().splitlines()
        raise SchemaError(f"the database cannot be reached: {said[0] if said else type(error).__name__}") from error
    finally:
        database.close()


def _require_known(revision: str | None, scripts: "ScriptDirectory") -> None:
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise SchemaError(
            f"the database's schema ({revision}) is of a later version than this one: install that version again, or "
            "restore the backup that was made before the upgrade"
        )


def upgrade_schema(settings: Settings) -> None:
    """Bring the schema to the newest revision. Raises SchemaError for the schema of a later version."""
    from alembic import command
    from alembic.runtime.migration import MigrationContext

    database = Database(settings.database)
    try:
        with database.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            _require_known(found, migration_scripts())
            command.upgrade(alembic_config(connection), "head")
    finally:
        database.close()
