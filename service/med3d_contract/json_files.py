"""JSON files of other programs, such as the sidecars of BIDS: whatever lies there, reading it breaks nothing."""

import json
from pathlib import Path
from typing import Any

MOST_BYTES = 2**20


def read_object(path: Path) -> dict[str, Any] | None:
    """Read the JSON object in a file; None where there is none that can be read, or one above 1 MiB."""
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig")) if path.stat().st_size <= MOST_BYTES else None
    except (OSError, ValueError, RecursionError):  # brackets within brackets within brackets ...
        return None
    return said if isinstance(said, dict) else None
