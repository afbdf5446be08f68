"""Counts in sentences that people read."""


def counted(count: int, one: str, several: str) -> str:
    """Return such as ``1 slice is`` or ``3 slices are``."""
    return f"{count} {one if count == 1 else several}"
