"""What a service's database holds: rows and bytes."""

from sqlalchemy import func, select, text


def number_of(database, table_of, *where):
    """Rows of a table."""
    with database.read() as session:
        return session.execute(select(func.count()).select_from(table_of).where(*where)).scalar_one()


def database_bytes(database):
    """Bytes that SQLite's pages take."""
    with database.read() as session:
        pages = [session.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "freelist_count")]
        return (pages[0] - pages[1]) * session.execute(text("PRAGMA page_size")).scalar_one()
