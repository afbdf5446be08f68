"""A cohort as people keep it: rows of a CSV or a BIDS dataset, checked so that every fault is named with its row."""

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from med3d_contract.bids import PARTICIPANTS_TSV, bids_rows
from med3d_contract.manifest_row import ManifestError, ManifestRow

MANIFEST_CSV = "participants.csv"
NEEDED_FOR_TRAINING = ("participant_id", "age", "sex", "t1w")
NEEDED_HERE = ("participant_id", "t1w")
COLUMNS = ("participant_id", "age", "sex", "site", "t1w", "scanner", "sdmt", "visit", "split")
MOST_YEARS = 120.0
MOST_SDMT_POINTS = 110.0


@dataclass(frozen=True)
class CohortScan:
    """One row: one scan of one person. None where the manifest does not say; ``visit`` is "" where there is one.

    age in years at the scan; sex F or M; sdmt: Symbol Digit Modalities Test as measured, 0 to 110 points; t1w: an
    existing file.
    """

    row: int
    participant_id: str
    t1w: Path
    age_years: float | None
    sex: str | None
    site: str | None
    scanner: str | None
    sdmt: float | None
    visit: str


@dataclass(frozen=True)
class ValidScans:
    """The scans of a manifest's good rows, and a line for each fault of the others."""

    scans: tuple[CohortScan, ...]
    problems: tuple[str, ...]


def read_manifest(path: Path) -> tuple[CohortScan, ...]:
    """Read a CSV, a folder that holds participants.csv, or a BIDS dataset.

    Columns: participant_id, t1w (a file, relative to the manifest's folder; BIDS finds it itself); optionally age
    (years), sex (F or M), site, scanner, sdmt (points), visit and split. Others are left alone. Raises ManifestError
    with every faulty row.
    """
    found = read_valid_scans(path)
    if found.problems:
        raise ManifestError(list(found.problems))
    return found.scans


def read_valid_scans(path: Path) -> ValidScans:
    """Read the same, without the faulty rows, of which each is named. Raises ManifestError where nothing can be read.

    Of two rows that contradict each other the later one is faulty; of files and visits that occur twice, all.
    """
    if path.is_dir():
        found = [path / name for name in (MANIFEST_CSV, PARTICIPANTS_TSV) if (path / name).is_file()]
        if not found:
            raise ManifestError([f"the folder holds neither {MANIFEST_CSV} nor {PARTICIPANTS_TSV}"])
        path = found[0]
    if not path.is_file():
        raise ManifestError([f"{path.name} does not exist"])
    missing: list[str] = []
    rows = bids_rows(path.parent, missing) if path.name == PARTICIPANTS_TSV else csv_rows(path, NEEDED_HERE)
    scans, problems = checked_scans(rows, path.parent, NEEDED_HERE)
    problems = [*missing, *problems]
    if not scans and not problems:
        problems = [f"{path.name} holds no rows"]
    faulty = {_row_of(problem) for problem in problems}
    return ValidScans(tuple(scan for scan in scans if scan.row not in faulty), tuple(problems))


def _row_of(problem: str) -> int | None:
    named = re.match(r"row (\d+): ", problem)
    return int(named[1]) if named else None


def csv_rows(path: Path, needed: Collection[str]) -> Iterator[ManifestRow]:
    """Return rows of a CSV with a header, each with the number that a spreadsheet shows; blank ones are skipped.

    Raises ManifestError that names each missing column, or text that is no UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = next(reader, [])
            require_columns(columns, needed)
            yield from (
                ManifestRow(number, _record(columns, cells)) for number, cells in enumerate(reader, start=2) if cells
            )
    except UnicodeDecodeError as error:
        raise ManifestError([f"{path.name} is not UTF-8 text: {error.reason} at byte {error.start}"]) from error
    except csv.Error as error:
        raise ManifestError([f"row {reader.line_num}: {path.name} cannot be read as CSV: {error}"]) from error


def _record(columns: list[str], cells: list[str]) -> dict[Any, Any]:
    """Return a row's cells by column, as csv.DictReader does, which does not count the blank rows that it skips."""
    record: dict[Any, Any] = dict(zip_longest(columns, cells[: len(columns)]))
    return record | {None: cells[len(columns) :]} if len(cells) > len(columns) else record


def require_columns(found: Iterable[str], needed: Collection[str]) -> None:
    """Raise ManifestError that names each column of ``needed`` that is missing."""
    there = set(found)
    if missing := [column for column in needed if column not in there]:
        raise ManifestError([f"row 1: the column {column} is missing" for column in missing])


def checked_scans(
    rows: Iterable[ManifestRow], folder: Path, needed: Collection[str]
) -> tuple[list[CohortScan], list[str]]:
    """Return the good rows, and a line for each fault; ``t1w`` is relative to ``folder``.

    A person may have several rows, told apart by visit, of one sex and in one split. A site has one spelling.
    """
    problems: list[str] = []
    checked = [(scan, row) for row in rows if (scan := _scan(row, folder, needed, problems))]
    scans = [scan for scan, _ in checked]
    splits = {scan.row: _text(row, "split") for scan, row in checked}
    problems += _repeated(scans)
    problems += _contradicted(scans, lambda scan: scan.sex or "", "is {here} here and {there} in row {row}")
    problems += _contradicted(scans, lambda s: splits[s.row], "is in split {here!r} here and in {there!r} in row {row}")
    return scans, problems + _spelled_differently(scans)


def _scan(row: ManifestRow, folder: Path, needed: Collection[str], problems: list[str]) -> CohortScan | None:
    values = {column: _text(row, column) for column in COLUMNS}
    filled = [column for column in COLUMNS if column in needed or (column == "site" and column in row.values)]
    before = len(problems)
    problems += [f"row {row.number}: {column} is empty" for column in filled if not values[column]]
    age = _number(row.number, "age", values["age"], "a number of years from 0 to 120", MOST_YEARS, problems)
    if values["sex"] and values["sex"] not in {"F", "M"}:
        problems.append(f"row {row.number}: sex {values['sex']!r} is neither F nor M")
    if values["t1w"] and not (folder / values["t1w"]).is_file():
        problems.append(f"row {row.number}: t1w {values['t1w']!r} is no file beside the manifest")
    sdmt = _number(row.number, "sdmt", values["sdmt"], "a number of points from 0 to 110", MOST_SDMT_POINTS, problems)
    if len(problems) > before:
        return None
    return CohortScan(
        row=row.number,
        participant_id=values["participant_id"],
        t1w=folder / values["t1w"],
        age_years=age,
        sex=values["sex"] or None,
        site=values["site"] or None,
        scanner=values["scanner"] or None,
        sdmt=sdmt,
        visit=values["visit"],
    )


def _text(row: ManifestRow, column: str) -> str:
    return (row.values.get(column) or "").strip()


def _number(row: int, column: str, text: str, wanted: str, most: float, problems: list[str]) -> float | None:
    """Parse it; None where ``text`` is empty, and where it is a problem."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number) and 0 <= number <= most:
        return number
    problems.append(f"row {row}: {column} {text!r} is not {wanted}")
    return None


def _repeated(scans: list[CohortScan]) -> list[str]:
    problems = []
    visits = Counter((scan.participant_id, scan.visit) for scan in scans)
    for scan in scans:
        if (times := visits[scan.participant_id, scan.visit]) > 1:
            again = f" with the visit {scan.visit!r}" if scan.visit else ""
            problems.append(f"row {scan.row}: participant_id occurs {times} times{again}")
    files = Counter(scan.t1w for scan in scans)
    return problems + [f"row {scan.row}: t1w occurs {files[scan.t1w]} times" for scan in scans if files[scan.t1w] > 1]


def _contradicted(scans: list[CohortScan], said: Callable[[CohortScan], str], words: str) -> list[str]:
    """Return rows of a person that say otherwise than the first that says anything."""
    first: dict[str, CohortScan] = {}
    problems = []
    for scan in scans:
        if not said(scan):
            continue
        before = first.setdefault(scan.participant_id, scan)
        if said(scan) != said(before):
            differs = words.format(here=said(scan), there=said(before), row=before.row)
            problems.append(f"row {scan.row}: {scan.participant_id} {differs}")
    return problems


def _spelled_differently(scans: list[CohortScan]) -> list[str]:
    """Refuse sites that differ in case, blanks or punctuation alone: one site, or every comparison by site is wrong."""
    first: dict[str, CohortScan] = {}
    problems = []
    for scan in scans:
        if scan.site is None:
            continue
        before = first.setdefault("".join(filter(str.isalnum, scan.site)).casefold(), scan)
        if scan.site != before.site:
            problems.append(f"row {scan.row}: site {scan.site!r} is spelled {before.site!r} in row {before.row}")
    return problems
