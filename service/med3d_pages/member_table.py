"""A table of members as somebody pastes it: CSV with a header, read into what the API takes."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from med3d_contract.cohorts import MemberEntry
from med3d_service.problems import ServiceError

NAMES: Mapping[str, str] = {
    "study_id": "study_id",
    "study_digest": "study_digest",
    "participant_id": "participant_id",
    "age": "age",
    "sex": "sex",
    "visit": "visit",
    "site": "scan_site",
    "scanner": "scanner",
    "sdmt": "sdmt",
}
NUMBERS = frozenset({"age", "sdmt"})
"""Of these columns a comma is a decimal one where the table is set apart by semicolons, as in half of Europe."""
MOST_ROWS = 5000


@dataclass(frozen=True)
class MemberTable:
    """What a table says of studies, and how many of its columns say nothing that a cohort keeps."""

    entries: tuple[MemberEntry, ...]
    columns_aside: int


def read_members(text: str) -> MemberTable:
    """Read the rows of a table. Raises ServiceError("invalid_request"), which names the first row that is at fault."""
    text = text.lstrip("\ufeff").strip()  # a table's own program may begin it with a mark of its encoding
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = _columns(next(reader, []))
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    if len(rows) > MOST_ROWS:
        raise ServiceError("invalid_request", f"The table has {len(rows)} rows. Send at most {MOST_ROWS} at once.")
    decimal = "," if delimiter == ";" else "."
    entries: dict[str, tuple[int, MemberEntry]] = {}
    for number, row in rows:
        entry = _entry(number, columns, row, decimal=decimal)
        first, other = entries.setdefault(entry.study_id or entry.study_digest or "", (number, entry))
        if other != entry:
            raise ServiceError("invalid_request", f"Rows {first} and {number} say different things of the same study.")
    aside = len([name for name in columns if name and name not in NAMES])
    return MemberTable(tuple(entry for _, entry in entries.values()), aside)


def _columns(first_line: Sequence[str]) -> list[str]:
    columns = [name.strip().lower() for name in first_line]
    if not {"study_id", "study_digest"} & set(columns):
        raise ServiceError(
            "invalid_request",
            "The first line names no column study_id or study_digest. Begin with a line such as: study_id,age,sex",
        )
    if (twice := next((name for name in NAMES if columns.count(name) > 1), None)) is not None:
        raise ServiceError("invalid_request", f"The first line names the column {twice} more than once.")
    return columns


def _entry(number: int, columns: Sequence[str], row: Sequence[str], *, decimal: str) -> MemberEntry:
    if any(cell.strip() for cell in row[len(columns) :]):
        raise ServiceError(
            "invalid_request",
            f"Row {number} has more cells than the first line. A text or number with a comma in it stands in quotes.",
        )
    said = {
        NAMES[name]: text.strip().replace(decimal, ".") if name in NUMBERS else text.strip()
        for name, text in zip(columns, row, strict=False)
        if name in NAMES and text.strip()
    }
    try:
        return MemberEntry.model_validate(said, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"][0] if first["loc"] else "study_id"
        column = next((name for name, field in NAMES.items() if field == place), "study_id")
        raise ServiceError("invalid_request", f"Row {number}, column {column}: {first['msg']}.") from error


def _delimiter(text: str) -> str:
    head = text.strip().partition("\n")[0]
    return max(",;\t", key=head.count)
