"""Ages of many inputs from one table: CSV, or with semicolons or tabs, a row for each input."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.errors import CommandError
from med3d_cli.studies.inputs import short_name
from med3d_contract.ages import OLDEST_YEARS, UNUSABLE, AgeReading
from med3d_contract.results import ChronologicalAge, Reason

NAMES = ("input", "path", "file", "image", "t1w", "scan", "participant_id", "subject", "name", "id")
AGES = ("age", "age_at_scan", "age_years", "chronological_age_years")
UNKNOWN = frozenset({"", "n/a", "na", "nan", "none", "null", "unknown"})
_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d+)?")
EXIT_USAGE = 2


@dataclass(frozen=True)
class AgeTable:
    """ages: by input. unused_rows: names that no input has."""

    ages: Mapping[Path, AgeReading]
    unused_rows: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    line: int
    name: str
    age: str


def read_ages(table: Path, inputs: Sequence[Path]) -> AgeTable:
    """Find each row's input by its path, as given or from the table's folder, else by its name with or without ending.

    What is written and is no age of one person (``89+``) gives no age, and its answer says why. Raises CommandError
    where the table cannot be read, a name fits several inputs, or two rows give one input different ages.
    """
    found: dict[Path, _Row] = {}
    unused: list[str] = []
    for row in _rows(table):
        fitting = _fitting(row.name, table.parent, inputs)
        if len(fitting) > 1:
            raise _refused(table, f"line {row.line}: {row.name} fits {len(fitting)} inputs; write the path of one")
        if not fitting:
            unused.append(row.name)
            continue
        other = found.setdefault(fitting[0], row)
        if other.age != row.age:
            lines = f"lines {other.line} and {row.line}"
            raise _refused(table, f"{lines} give {row.name} different ages; leave one row for each input")
    return AgeTable({path: _reading(row.age, table.name) for path, row in found.items()}, tuple(unused))


def _fitting(name: str, folder: Path, inputs: Sequence[Path]) -> list[Path]:
    """Return the inputs that a row names, by the first way of naming that fits any."""
    there = (folder / name).resolve()
    ways = (
        [path for path in inputs if str(path) == name],
        [path for path in inputs if path.resolve() == there],
        [path for path in inputs if name in {path.name, short_name(path)}],
    )
    return next((found for found in ways if found), [])


def _rows(table: Path) -> Iterator[_Row]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(table, "it cannot be read as UTF-8 text; save it as CSV in UTF-8") from error
    lines = text.splitlines()
    header = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=max(",;\t", key=header.count), restval="", strict=True)
    try:
        yield from _named_rows(table, reader)
    except csv.Error as error:
        why = "a quotation mark is left open, or a cell is too long"
        raise _refused(table, f"line {reader.line_num + 1} cannot be read: {why}") from error


def _named_rows(table: Path, reader: "csv.DictReader[str]") -> Iterator[_Row]:
    columns = {(name or "").strip().casefold(): name for name in reader.fieldnames or ()}
    name, age = _column(columns, NAMES), _column(columns, AGES)
    if name is None or age is None:
        wanted = f"a column with the input ({', '.join(NAMES[:4])} ...) and one with the age in years ({AGES[0]})"
        raise _refused(table, f"its first line must name {wanted}; it has {', '.join(columns) or 'nothing'}")
    for row in reader:
        if None in row:
            cut = "an age with a comma stands in quotation marks, or is written as 43.5"
            raise _refused(table, f"line {reader.line_num} has more cells than the first line: {cut}")
        if row[name].strip():
            yield _Row(reader.line_num, row[name].strip(), row[age].strip())


def _column(columns: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((columns[one] for one in wanted if one in columns), None)


def _reading(text: str, table: str) -> AgeReading:
    if text.casefold() in UNKNOWN:
        return AgeReading(None)
    years = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
    if not years or years > OLDEST_YEARS:
        why = f"What {table} has for the age is no age of one person in years (above 0, to {OLDEST_YEARS:g})"
        return AgeReading(None, Reason(code=UNUSABLE, sentence=f"{why}, so no gap is given. Write it as 43.5."))
    return AgeReading(ChronologicalAge(years=years, source="form", note=f"from {table}"))


def _refused(table: Path, why: str) -> CommandError:
    return CommandError(f"ages of {table}: {why}", EXIT_USAGE)
