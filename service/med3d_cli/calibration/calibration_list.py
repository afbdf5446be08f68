"""Which heads a calibration is to be made of: a BIDS dataset, or a CSV of paths and ages."""

import csv
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from med3d_cli.calibration.calibration_groups import (
    filled_groups,
    filled_scanners,
    healthy_words,
    other_than_healthy,
    several_words,
    tells_group,
)
from med3d_cli.errors import CommandError
from med3d_contract.bids import PARTICIPANTS_TSV, read_tsv, session_ages, session_of, t1w_images
from med3d_contract.cohort_manifest import MANIFEST_CSV, csv_rows
from med3d_contract.manifest_row import ManifestError, ManifestRow

PATHS = ("path", "t1w", "file", "scan")
PERSONS = ("participant_id", "participant", "subject", "subject_id")
AGE = "age"
LEAST_YEARS, MOST_YEARS = 18.0, 100.0
"""Adults, as the models have learned from; beyond 100 an age is a slip of the pen, or a birth date that was hidden."""


@dataclass(frozen=True)
class ListedHead:
    """One row. age_years: None where the row does not say; groups: what it says of the person's health, by column.

    scanners: what it says of where the head was scanned, by column.
    """

    row: int
    path: Path
    age_years: float | None
    groups: Mapping[str, str] = field(default_factory=dict)
    scanners: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOutHead:
    """A row that takes no part: a code, and why, without a word of the row's own: that may be anybody's name."""

    row: int
    code: str
    reason: str


@dataclass(frozen=True)
class HeadList:
    """The rows that may take part, one a person, and those that may not.

    patients: how many are stated as other than healthy, by where that is said. tells_health: a column says who is
    healthy.
    """

    heads: tuple[ListedHead, ...]
    left_out: tuple[LeftOutHead, ...]
    patients: Mapping[str, int]
    tells_health: bool

    @property
    def several_scanners(self) -> list[str]:
        """Scanners or sites that one column names; empty where no column names more than one."""
        return several_words(head.scanners for head in self.heads)


def read_list(place: Path, healthy: Collection[str] = ()) -> HeadList:
    """Read a folder with participants.tsv (BIDS) or participants.csv, or a CSV file.

    A CSV has a column ``path`` (or t1w), relative to its folder, and where it is known ``age`` (years), and may have
    ``participant_id`` and ``group`` or ``diagnosis``. healthy: the words of that column that mean so, in place of the
    usual ones; then all others are left out, and none is counted as a patient. Raises CommandError.
    """
    listed = _read(place)
    tells_health = any(isinstance(one, ListedHead) and one.groups for one, _ in listed)
    if healthy and not tells_health:
        raise CommandError(
            f"--healthy names a word, and no column of {place.name} tells who is healthy; name it group or diagnosis"
        )
    sorting = _Sorting(healthy_words(healthy), tells_health)
    for one, person in listed:
        sorting.take(one, person)
    _require_ages(sorting.heads)
    patients = {} if healthy else dict(sorting.patients)
    return HeadList(tuple(sorting.heads), tuple(sorting.left_out), patients, tells_health)


def unusable_age(row: int, years: float) -> LeftOutHead | None:
    """Tell why a head of this age takes no part; None where it may."""
    if LEAST_YEARS <= years <= MOST_YEARS:
        return None
    return LeftOutHead(
        row, "age_unusable", f"The age is no number of years from {LEAST_YEARS:g} to {MOST_YEARS:g}, so no adult's."
    )


class _Sorting:
    """Rows on their way to those that take part and those that do not."""

    def __init__(self, words: Collection[str], tells_health: bool) -> None:
        self.heads: list[ListedHead] = []
        self.left_out: list[LeftOutHead] = []
        self.patients: Counter[str] = Counter()
        self._words = words
        self._tells_health = tells_health
        self._seen: set[str] = set()

    def take(self, one: ListedHead | LeftOutHead, person: str) -> None:
        """Sort one row; person: "" where the row names none."""
        if isinstance(one, LeftOutHead):
            self.left_out.append(one)
            return
        column = other_than_healthy(one.groups, self._words)
        same = {f"file {one.path.resolve()}"} | ({f"person {_plain_id(person)}"} if person else set())
        if self._tells_health and not one.groups:
            self._leave_out(one, "group_not_stated", "Others say a group, and this row does not.")
        elif column is not None:
            self.patients[f"in the column {column}:"] += 1
            self._leave_out(one, "not_healthy", f"The column {column} says something else than healthy.")
        elif same & self._seen:
            self._leave_out(one, "same_person", "An earlier row is of the same person or file.")
        else:
            self._seen |= same
            self.heads.append(one)

    def _leave_out(self, one: ListedHead, code: str, reason: str) -> None:
        self.left_out.append(LeftOutHead(one.row, code, reason))


def _read(place: Path) -> list[tuple[ListedHead | LeftOutHead, str]]:
    try:
        return list(_bids(place) if (place / PARTICIPANTS_TSV).is_file() else _csv(place))
    except ManifestError as error:
        raise CommandError(f"{place.name} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{place.name} cannot be read: it is not UTF-8 text") from error
    except csv.Error as error:
        raise CommandError(f"{place.name} cannot be read: {error}; a quotation mark may lack its second") from error
    except OSError as error:  # its own words would name a file, and so a person
        raise CommandError(f"{place.name} cannot be read: {error.strerror}") from error


def _bids(dataset: Path) -> Iterator[tuple[ListedHead | LeftOutHead, str]]:
    """Return each participant's first session with a T1w image, or the one that the row is about."""
    _require_each_once(dataset / PARTICIPANTS_TSV, "\t")
    for number, record in enumerate(read_tsv(dataset / PARTICIPANTS_TSV), start=2):
        name = record.get("participant_id", "")
        subject = name if name.startswith("sub-") else f"sub-{name}"
        visit = session_of(record)
        everything = t1w_images(dataset / subject) if name else {}
        images = {session: image for session, image in everything.items() if visit in {None, session}}
        if not images:
            where = " in the row's session" if everything else ""
            yield LeftOutHead(number, "no_image", f"The participant has no anat/*_T1w.nii.gz{where}."), subject
            continue
        session, image = next(iter(images.items()))
        ages = session_ages(dataset / subject / f"{subject}_sessions.tsv")
        yield _listed(number, image, ages.get(session) or _first(record, (AGE,)), record), subject


def _csv(place: Path) -> Iterator[tuple[ListedHead | LeftOutHead, str]]:
    path = place / MANIFEST_CSV if place.is_dir() else place
    if not path.is_file():
        raise ManifestError([f"there is neither {PARTICIPANTS_TSV} nor {MANIFEST_CSV}"])
    _require_each_once(path, ",")
    for row in csv_rows(path, ()):
        record = _cells(row)
        name = _first(record, PATHS)
        image = path.parent / name
        if not name or not _is_there(image):
            yield LeftOutHead(row.number, "no_image", "The path is empty or leads to nothing."), ""
            continue
        yield _listed(row.number, image, _first(record, (AGE,)), record), _first(record, PERSONS)


def _require_each_once(table: Path, delimiter: str) -> None:
    """Raise ManifestError where a column that is read here stands twice: the last one alone would count."""
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        columns = Counter(column.strip().casefold() for column in next(csv.reader(file, delimiter=delimiter), []))
    for column, times in columns.items():
        if times > 1 and (column in {AGE, *PATHS, *PERSONS} or tells_group(column)):
            raise ManifestError([f"row 1: the column {column} stands twice; leave the right one"])


def _cells(row: ManifestRow) -> dict[str, str]:
    """Return a row's cells by column. Raises ManifestError where the columns are not those of such a list."""
    columns = [column for column in row.values if column is not None]
    if not any(column.strip().casefold() in PATHS for column in columns):
        if any(";" in column for column in columns):
            raise ManifestError(["row 1: semicolons stand between the columns; save it as a CSV with commas"])
        raise ManifestError(["row 1: the column path is missing"])
    if len(columns) < len(row.values):
        raise ManifestError([f"row {row.number}: has more cells than columns; put a text with a comma into quotes"])
    return {column.strip(): (text or "").strip() for column, text in row.values.items()}


def _is_there(image: Path) -> bool:
    try:
        return image.exists()
    except OSError:  # such as a name that is too long
        return False


def _listed(row: int, image: Path, age: str, record: Mapping[str, str]) -> ListedHead | LeftOutHead:
    groups, scanners = filled_groups(record.items()), filled_scanners(record.items())
    if not age or age.casefold() == "n/a":
        return ListedHead(row, image, None, groups, scanners)
    try:
        years = float(age.replace(",", "."))
    except ValueError:
        years = math.nan
    return unusable_age(row, years) or ListedHead(row, image, years, groups, scanners)


def _require_ages(heads: Sequence[ListedHead]) -> None:
    """Raise CommandError where reading the heads could tell no age either."""
    if heads and all(head.age_years is None and head.path.name.endswith((".nii", ".nii.gz")) for head in heads):
        raise CommandError("no row tells an age, and NIfTI files tell none: add a column age (years at the scan)")


def _plain_id(person: str) -> str:
    return person.casefold().removeprefix("sub-")


def _first(record: Mapping[str, str], columns: tuple[str, ...]) -> str:
    folded = {column.casefold(): text for column, text in record.items()}
    return next((folded[column] for column in columns if folded.get(column)), "")
