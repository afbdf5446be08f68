"""The tables of a dataset with the JSON files that explain their columns, as people and spreadsheets write them."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from med3d_cli.bids.ages import AGES, AgeUnits, Row, first_of, folded
from med3d_cli.bids.names import is_label, without_prefix
from med3d_cli.errors import CommandError
from med3d_contract.bids import PARTICIPANTS_TSV, read_tsv
from med3d_contract.json_files import read_object

SESSIONS = ("session_id", "session", "ses")
SEX = ("sex", "gender")
PARTICIPANTS_JSON = "participants.json"
NOBODY: Row = {}


class Participants:
    """participants.tsv: a row for each participant, or one for each session of a participant."""

    def __init__(self, root: Path) -> None:
        self.units = age_units([root / PARTICIPANTS_JSON])
        found = grouped(read_table(root / PARTICIPANTS_TSV), participant_label)
        self.rows = {label: rows for label, rows in found.items() if is_label(label)}
        self.no_labels = sum(len(rows) for label, rows in found.items() if not is_label(label))
        """Rows whose participant_id can be no folder's name."""

    def sessions(self, label: str) -> set[str]:
        """Return the sessions that the participant's rows name."""
        return {session for row in self.rows.get(label, []) if (session := session_label(row))}

    def visit(self, label: str, session: str | None) -> Row:
        """Return the row that names this session, or the only one where folders have no sessions; else nothing."""
        rows = self.rows.get(label, [])
        if session is None:
            is_one = len(rows) == 1 or not any(map(session_label, rows))
            return one_row(rows) if is_one else NOBODY
        return one_row([row for row in rows if session_label(row) == session])

    def person(self, label: str) -> Row:
        """Return what is said of the participant at any time: an age in the row of one session is of that one alone."""
        rows = self.rows.get(label, [])
        of_all = [row for row in rows if not session_label(row)]
        if of_all:
            return one_row(of_all)
        sexes = {column: text for column, text in one_row(rows).items() if folded(column) in SEX}
        said = {**next(iter(rows), NOBODY), **sexes}
        return {column: text for column, text in said.items() if folded(column) not in AGES}


def participant_label(row: Row) -> str:
    """Return ``01`` of a row of ``01`` or ``sub-01``."""
    return without_prefix(row.get("participant_id", ""), "sub")


def session_label(row: Row) -> str:
    """Return the session that a row names; nothing where it names none."""
    return without_prefix(first_of(row, SESSIONS), "ses")


def by_session(rows: Iterable[Row]) -> dict[str, Row]:
    """Return the rows that name a session by its label."""
    return {label: one_row(same) for label, same in grouped(rows, session_label).items() if label}


def grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Return the rows that have each key, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def one_row(rows: Sequence[Row]) -> Row:
    """Make one row of all that are about one thing; where they differ a cell has both, which is no age and no sex."""
    columns = dict.fromkeys(column for row in rows for column in row)
    texts = {column: dict.fromkeys(text for row in rows if (text := row.get(column))) for column in columns}
    return {column: " or ".join(different) for column, different in texts.items()}


def read_table(path: Path) -> list[Row]:
    """Read a TSV of the dataset without its empty lines; one that is not there has no rows. Raises CommandError."""
    if not path.is_file():
        return []
    try:
        rows: list[Row] = [row for row in read_tsv(path) if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path.name} cannot be read: {_why_not(path, error)}") from error
    for number, row in enumerate(rows, start=1):
        if any("\n" in text or "\r" in text for text in row.values()):
            raise CommandError(
                f"{path.name} cannot be read: a quotation mark in row {number} of its data opens a cell that "
                "goes on over the end of the line. Close it, or take it away"
            )
    return rows


def age_units(dictionaries: Sequence[Path]) -> AgeUnits:
    """Read the units of ages in a table from its dictionaries, the nearest last."""
    stated: dict[str, str] = {}
    for path in dictionaries:
        if not path.is_file():
            continue
        said = read_object(path)
        if said is None:
            return AgeUnits({}, f"{path.name} is no JSON object, so nobody can say in which unit it is")
        stated |= {folded(column): folded(unit) for column, about in said.items() if (unit := _unit(about)) is not None}
    return AgeUnits({column: unit for column, unit in stated.items() if column in AGES})


def beside(units: AgeUnits, participants: AgeUnits, table: str) -> AgeUnits:
    """Doubt what no dictionary of ``table`` states where that of participants.tsv has other units than years."""
    if participants.are_years or units.doubt is not None:
        return units
    dictionary = f"{table.removesuffix('.tsv')}.json"
    why = (
        f"{PARTICIPANTS_JSON} has another unit than years, and no {dictionary} says which one the ages of {table} have"
    )
    return replace(units, doubt=why)


def _unit(about: object) -> str | None:
    unit = about.get("Units") if isinstance(about, Mapping) else None
    return unit if isinstance(unit, str) else None


def _why_not(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return _not_utf8(path.read_bytes())
    if isinstance(error, csv.Error):
        return f"{error}. Is a quotation mark left open?"
    return str(getattr(error, "strerror", None) or error)


def _not_utf8(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16 text. Save it as UTF-8"
    readable = data.decode("utf-8", "replace").partition("\N{REPLACEMENT CHARACTER}")[0]
    return f"line {len(readable.splitlines()) or 1} is not UTF-8 text. Save the table as UTF-8"
