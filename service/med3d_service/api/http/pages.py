"""Pages of a list, newest first, by an opaque cursor: stable while new items come in."""

import base64
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar, TypeVarTuple

from fastapi import Query
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from med3d_service.problems import ServiceError

Limit = Annotated[int, Query(ge=1, le=200, description="items per page")]
Cursor = Annotated[str | None, Query(max_length=64, description="next_cursor of the page before", examples=["NDI"])]
T = TypeVarTuple("T")
R = TypeVar("R")


def newest_first(query: Select[*T], seq: InstrumentedAttribute[int], limit: int, cursor: str | None) -> Select[*T]:
    """Return the rows of a page, and one more where there is a next page. Raises ServiceError("invalid_cursor")."""
    before = place_of(cursor)
    if before is not None:
        query = query.where(seq < before)
    return query.order_by(seq.desc()).limit(limit + 1)


def cut(rows: Sequence[R], limit: int, seq: Callable[[R], int]) -> tuple[Sequence[R], str | None]:
    """Return the page of what ``newest_first`` found, and the cursor of the next page."""
    return rows[:limit], cursor_behind(seq(rows[limit - 1])) if len(rows) > limit else None


def cursor_behind(seq: int) -> str:
    """Make the cursor of the page behind item ``seq``."""
    return base64.urlsafe_b64encode(str(seq).encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> int | None:
    """Read a cursor. Raises ServiceError("invalid_cursor")."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError as error:
        raise ServiceError("invalid_cursor") from error
    if not text.isdigit() or len(text) > 15:
        raise ServiceError("invalid_cursor")
    return int(text)
