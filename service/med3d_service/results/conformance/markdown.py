"""Tables as Markdown writes them, and what DICOM calls its UIDs."""

from collections.abc import Iterable, Sequence

from pydicom.uid import UID


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar or a line break within a cell is kept from ending it."""
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def uid_cell(uid: str) -> str:
    """Return a UID as code."""
    return f"`{uid}`"


def name_of(uid: str) -> str:
    """Return the standard's name of a UID."""
    return UID(uid).name


def syntaxes(uids: Iterable[str]) -> str:
    """Return transfer syntaxes by UID, for one cell."""
    return ", ".join(map(uid_cell, uids))


def status_cell(status: int) -> str:
    """Return a DIMSE status as the standard writes it."""
    return f"`0x{status:04X}`"
