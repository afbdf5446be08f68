"""A table of members as somebody pastes it: CSV with a header, read into what the API takes."""

import csv
import io
from collections.abc import Mapping

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


def read_members(text: str) -> list[MemberEntry]:
    """Read the rows of a table. Raises ServiceError("invalid_request"), which names the first row that is at fault."""
    text = text.lstrip("\ufeff").strip()  # a table's own program may begin it with a mark of its encoding
    delimiter = _delimiter(text)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [name.strip() for name in reader.fieldnames or ()]
    if not {"study_id", "study_digest"} & set(columns):
        raise ServiceError(
            "invalid_request",
            "The first line names no column study_id or study_digest. Begin with a line such as: study_id,age,sex",
        )
    entries = [
        _entry(number, dict(row), decimal="," if delimiter == ";" else ".")
        for number, row in enumerate(reader, start=2)
    ]
    if len(entries) > MOST_ROWS:
        raise ServiceError("invalid_request", f"The table has {len(entries)} rows. Send at most {MOST_ROWS} at once.")
    return entries


def _entry(number: int, row: Mapping[str | None, str | list[str] | None], *, decimal: str) -> MemberEntry:
    said = {
        NAMES[name.strip()]: text.strip().replace(decimal, ".") if name.strip() in NUMBERS else text.strip()
        for name, text in row.items()
        if name is not None and isinstance(text, str) and name.strip() in NAMES and text.strip()
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
