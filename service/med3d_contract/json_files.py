"""JSON of other programs, such as sidecars of BIDS or answers of peers: whatever it holds, reading breaks nothing."""

import json
from pathlib import Path
from typing import Any

MOST_BYTES = 2**20


def read_json(text: bytes | str) -> Any:
    """Read JSON. Raises ValueError, also for brackets within brackets without end."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """Read the JSON object in a file; None where there is none that can be read, or one above 1 MiB."""
    try:
        said = read_json(path.read_text(encoding="utf-8-sig")) if path.stat().st_size <= MOST_BYTES else None
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None
