"""Pages of a list, newest first, by an opaque cursor: stable while new items come in."""

import base64
from typing import Annotated

from fastapi import Query

from med3d_service.problems import ServiceError

Limit = Annotated[int, Query(ge=1, le=200, description="items per page")]
Cursor = Annotated[str | None, Query(max_length=64, description="next_cursor of the page before", examples=["NDI"])]


def encode_cursor(seq: int) -> str:
    """Make the cursor of the page behind item ``seq``."""
    return base64.urlsafe_b64encode(str(seq).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
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
