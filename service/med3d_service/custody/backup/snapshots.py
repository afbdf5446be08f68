"""The database at one moment, written to files beside its use: SQLite's online backup, or COPY in one snapshot.

COPY needs no program of PostgreSQL's on this machine, and none of the server's version.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from psycopg import sql
from sqlalchemy import Connection, MetaData, create_engine, inspect, make_url, text

from med3d_service.custody.backup.archive import BackupError
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, alembic_config

SQLITE_FILE, COPY_FOLDER = "database.sqlite", "database"
PIECE_BYTES = 1 << 20


def kind_of(settings: Settings) -> str:
    """Return ``sqlite`` or ``postgresql``."""
    return make_url(settings.database).get_backend_name()


def sqlite_path(settings: Settings) -> Path:
    """Tell where SQLite's file lies."""
    found = make_url(settings.database).database
    if found is None:
        raise BackupError("a database in memory cannot be backed up")
    return Path(found)


@contextmanager
def snapshot(settings: Settings, folder: Path) -> Iterator[Connection]:
    """Write the database to ``folder`` and give a connection that sees just what was written."""
    if kind_of(settings) == "sqlite":
        copy = folder / SQLITE_FILE
        _copy_sqlite(sqlite_path(settings), copy)
        engine = create_engine(f"sqlite:///{copy}")
        with engine.connect() as connection:
            yield connection
        engine.dispose()
        return
    database = Database(settings.database)
    try:
        with database.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same one
            (folder / COPY_FOLDER).mkdir(mode=0o700)
            for table, columns in tables_of(connection).items():
                statement, path = _copy_statement(table, columns, "TO STDOUT"), folder / COPY_FOLDER / f"{table}.copy"
                with _cursor(connection).copy(statement) as copying, path.open("wb") as file:
                    for piece in copying:
                        file.write(piece)
            yield connection
    finally:
        database.close()


def tables_of(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return all tables but Alembic's with their columns, those that others refer to first."""
    found = MetaData()
    found.reflect(connection)
    return {
        table.name: tuple(column.name for column in table.columns)
        for table in found.sorted_tables
        if table.name != "alembic_version"
    }


def revision_of(connection: Connection) -> str:
    """Return the schema's revision."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def require_empty(settings: Settings) -> None:
    """Raise BackupError where there is a database already: a restore never overwrites one."""
    if kind_of(settings) == "sqlite":
        if sqlite_path(settings).exists():
            raise BackupError(f"there is a database at {sqlite_path(settings)}; restore into an empty data folder")
        return
    database = Database(settings.database)
    try:
        with database.engine.connect() as connection:
            if inspect(connection).get_table_names():
                raise BackupError("the PostgreSQL database has tables already; restore into an empty one")
    finally:
        database.close()


def put_back(settings: Settings, folder: Path, revision: str, tables: dict[str, tuple[str, ...]]) -> None:
    """Make the database of ``folder`` the service's, at the schema's revision of then."""
    if kind_of(settings) == "sqlite":
        target = sqlite_path(settings)
        aside = target.with_suffix(".restoring")
        aside.unlink(missing_ok=True)
        _copy_sqlite(folder / SQLITE_FILE, aside)
        aside.replace(target)
        return
    database = Database(settings.database)
    try:
        with database.engine.connect() as connection:
            command.upgrade(alembic_config(connection), revision)
        with database.engine.begin() as connection:
            for table, columns in tables.items():
                _copy_in(connection, table, columns, folder / COPY_FOLDER / f"{table}.copy")
            _set_sequences(connection, tables)
    finally:
        database.close()


def _copy_sqlite(source: Path, target: Path) -> None:
    """Use SQLite's online backup in one step: one consistent state, while others read and write."""
    reading, writing = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        reading.execute("PRAGMA busy_timeout=60000")
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode=DELETE")
        [verdict] = writing.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise BackupError(f"the copy of the database is damaged: {verdict}")
    finally:
        reading.close()
        writing.close()
    target.chmod(0o600)


def _cursor(connection: Connection) -> Any:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.cursor()


def _copy_statement(table: str, columns: tuple[str, ...], direction: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), names, sql.SQL(direction))


def _copy_in(connection: Connection, table: str, columns: tuple[str, ...], path: Path) -> None:
    # A new schema has rows that its migrations put there; the backup has its own.
    connection.execute(text(f'DELETE FROM "{table}"'))  # noqa: S608 - a name of our own schema
    with _cursor(connection).copy(_copy_statement(table, columns, "FROM STDIN")) as copying, path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            copying.write(piece)


def _set_sequences(connection: Connection, tables: dict[str, tuple[str, ...]]) -> None:
    """Let what is numbered go on after the highest number."""
    for table, columns in tables.items():
        for column in columns:
            query = text("SELECT pg_get_serial_sequence(:table, :column)")
            sequence = connection.execute(query, {"table": f'"{table}"', "column": column}).scalar_one()
            if sequence is not None:
                highest = f'(SELECT max("{column}") FROM "{table}")'  # noqa: S608 - names of our own schema
                connection.execute(
                    text(f"SELECT setval(:sequence, coalesce({highest}, 1), {highest} IS NOT NULL)"),
                    {"sequence": sequence},
                )
