"""Which heads a calibration is to be made of: a BIDS dataset, or a CSV of paths and ages."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.errors import CommandError
from med3d_contract.bids import PARTICIPANTS_TSV, read_tsv, session_ages, t1w_images
from med3d_contract.cohort_manifest import MANIFEST_CSV, csv_rows
from med3d_contract.manifest_row import ManifestError

PATHS = ("path", "t1w", "file", "scan")
PERSONS = ("participant_id", "participant", "subject", "subject_id")
GROUPS = ("group", "diagnosis", "dx", "patient_group")
HEALTHY = frozenset(
    {"control", "controls", "ctrl", "con", "hc", "nc", "cn", "healthy", "healthy control", "healthy controls",
     "healthy_control", "normal", "volunteer", "none", "no diagnosis"}
)  # fmt: skip
"""What people write in such a column of someone who is healthy, in small letters; others are named by --healthy."""
MOST_YEARS = 120.0


@dataclass(frozen=True)
class ListedHead:
    """One row. age_years: None where the row does not say; group: "" where it does not."""

    row: int
    path: Path
    age_years: float | None
    group: str


@dataclass(frozen=True)
class LeftOutHead:
    """A row that takes no part: a code, and why."""

    row: int
    code: str
    reason: str


@dataclass(frozen=True)
class HeadList:
    """The rows that may take part, one a person, and those that may not. patients: other groups than healthy."""

    heads: tuple[ListedHead, ...]
    left_out: tuple[LeftOutHead, ...]
    patients: Mapping[str, int]


def read_list(place: Path, healthy: Collection[str] = ()) -> HeadList:
    """Read a folder with participants.tsv (BIDS) or participants.csv, or a CSV file.

    A CSV has a column ``path`` (or t1w), relative to its folder, and where it is known ``age`` (years), and may have
    ``participant_id`` and ``group`` or ``diagnosis``. healthy: the words of that column that mean so, in place of the
    usual ones; then all others are left out, and none is counted as a patient. Raises CommandError.
    """
    try:
        listed = list(_bids(place) if (place / PARTICIPANTS_TSV).is_file() else _csv(place))
    except (ManifestError, OSError) as error:
        raise CommandError(f"{place.name} cannot be read: {error}") from error
    words = frozenset(word.strip().casefold() for word in healthy) or HEALTHY
    tells_groups = any(isinstance(one, ListedHead) and one.group for one, _ in listed)
    heads: list[ListedHead] = []
    left_out: list[LeftOutHead] = []
    patients: Counter[str] = Counter()
    seen: set[str] = set()
    for one, person in listed:
        if isinstance(one, LeftOutHead):
            left_out.append(one)
        elif tells_groups and not one.group:
            left_out.append(LeftOutHead(one.row, "group_not_stated", "Others say a group, and this row does not."))
        elif one.group and one.group.casefold() not in words:
            patients[one.group] += 0 if healthy else 1
            left_out.append(LeftOutHead(one.row, "not_healthy", f"The group is {one.group}."))
        elif person in seen:
            left_out.append(LeftOutHead(one.row, "same_person", "An earlier row is of the same person or file."))
        else:
            seen.add(person)
            heads.append(one)
    return HeadList(tuple(heads), tuple(left_out), {group: n for group, n in patients.items() if n})


def _bids(dataset: Path) -> Iterator[tuple[ListedHead | LeftOutHead, str]]:
    """The first session with a T1w image of each participant."""
    for number, record in enumerate(read_tsv(dataset / PARTICIPANTS_TSV), start=2):
        name = record.get("participant_id", "")
        subject = name if name.startswith("sub-") else f"sub-{name}"
        images = t1w_images(dataset / subject) if name else {}
        if not images:
            yield LeftOutHead(number, "no_image", "The participant has no anat/*_T1w.nii.gz."), subject
            continue
        session, image = next(iter(images.items()))
        ages = session_ages(dataset / subject / f"{subject}_sessions.tsv")
        yield _listed(number, image, ages.get(session) or record.get("age", ""), _first(record, GROUPS)), subject


def _csv(place: Path) -> Iterator[tuple[ListedHead | LeftOutHead, str]]:
    path = place / MANIFEST_CSV if place.is_dir() else place
    if not path.is_file():
        raise ManifestError([f"there is neither {PARTICIPANTS_TSV} nor {MANIFEST_CSV}"])
    for row in csv_rows(path, ()):
        record = {(column or "").strip().casefold(): (text or "").strip() for column, text in row.values.items()}
        if not any(column in record for column in PATHS):
            raise ManifestError(["row 1: the column path is missing"])
        name = _first(record, PATHS)
        image = path.parent / name
        if not name or not image.exists():
            yield LeftOutHead(row.number, "no_image", "The path is empty or leads to nothing."), ""
            continue
        yield (
            _listed(row.number, image, record.get("age", ""), _first(record, GROUPS)),
            (_first(record, PERSONS) or str(image.resolve())),
        )


def _listed(row: int, image: Path, age: str, group: str) -> ListedHead | LeftOutHead:
    if not age:
        return ListedHead(row, image, None, group)
    try:
        years = float(age.replace(",", "."))
    except ValueError:
        years = math.nan
    if not 0 <= years <= MOST_YEARS:
        return LeftOutHead(row, "age_unusable", "The age is no number of years from 0 to 120.")
    return ListedHead(row, image, years, group)


def _first(record: Mapping[str, str], columns: tuple[str, ...]) -> str:
    folded = {column.casefold(): text for column, text in record.items()}
    return next((folded[column] for column in columns if folded.get(column)), "")
