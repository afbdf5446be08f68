"""Which images of a BIDS dataset are T1-weighted heads, and what its tables and sidecars say of each."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.bids.ages import Row, VisitRows, first_of, read_sex, read_visit_age
from med3d_cli.bids.names import IMAGES, BidsName, parse_name, without_prefix
from med3d_cli.bids.sidecars import Sidecars, acquisition_of
from med3d_cli.errors import CommandError
from med3d_contract.ages import AgeReading
from med3d_contract.bids import PARTICIPANTS_TSV, read_tsv
from med3d_contract.results import Sex
from med3d_pipeline.study.acquisition import Acquisition

SUFFIX = "T1w"
PROCESSED = frozenset({"space", "desc", "res", "den", "label"})
SESSIONS = ("session_id", "session", "ses")
NO_BIDS_NAME = "no name of BIDS"
MISPLACED = "a name of another participant or session than the folder's"
NOBODY: Row = {}


@dataclass(frozen=True)
class Scan:
    """A ``_T1w`` image with what the dataset says of it. image: below the dataset."""

    image: Path
    name: BidsName
    age: AgeReading
    sex: Sex | None
    acquisition: Acquisition

    @property
    def participant(self) -> str:
        """As in ``sub-01``."""
        return f"sub-{self.name.entities['sub']}"

    @property
    def session(self) -> str | None:
        """As in ``ses-2``; None in a dataset without sessions."""
        label = self.name.entities.get("ses")
        return None if label is None else f"ses-{label}"


@dataclass(frozen=True)
class Missing:
    """An image that the dataset speaks of and does not hold, in a whole sentence. name: where one is named."""

    participant: str
    session: str | None
    name: BidsName | None
    sentence: str


@dataclass(frozen=True)
class Dataset:
    """The scans by name, what was passed over by why, and what is missing."""

    root: Path
    scans: tuple[Scan, ...]
    passed_over: Mapping[str, int]
    missing: tuple[Missing, ...]
    unreadable_sidecars: tuple[Path, ...]


def read_dataset(root: Path, participants: Collection[str] = (), sessions: Collection[str] = ()) -> Dataset:
    """Read the dataset under ``root``, of it those participants and sessions where any are named (labels).

    Only ``sub-*/[ses-*/]anat`` is looked at, never derivatives or sourcedata. Raises CommandError where a table cannot
    be read, or a label that is named is not there.
    """
    wanted = [without_prefix(label, "sub") for label in participants]
    reading = _Reading(root, {without_prefix(label, "ses") for label in sessions})
    there = sorted(path for path in root.glob("sub-*") if path.is_dir())
    labels = list(dict.fromkeys([*(path.name.removeprefix("sub-") for path in there), *reading.listed]))
    if not labels:
        raise CommandError(f"{root} is no BIDS dataset: it has no folders sub-* and no {PARTICIPANTS_TSV}")
    if unknown := sorted(set(wanted) - set(labels)):
        raise CommandError(f"--participant-label names {', '.join(unknown)}, which the dataset does not have", 2)
    for label in sorted(wanted or labels):
        reading.participant(label)
    if sessions and not (reading.scans or reading.missing):
        raise CommandError("--session-label names no session that the dataset has", 2)
    scans = tuple(sorted(reading.scans, key=lambda scan: scan.image.as_posix()))
    return Dataset(
        root, scans, dict(sorted(reading.passed_over.items())), tuple(reading.missing),
        tuple(sorted(reading.sidecars.unreadable)),
    )  # fmt: skip


class _Reading:
    """A dataset while it is read."""

    def __init__(self, root: Path, sessions: Collection[str]) -> None:
        self.root = root
        self.sidecars = Sidecars(root)
        self.scans: list[Scan] = []
        self.passed_over: Counter[str] = Counter()
        self.missing: list[Missing] = []
        self._sessions = sessions
        self._participants: dict[str, list[Row]] = {}
        for row in read_table(root / PARTICIPANTS_TSV):
            label = without_prefix(row.get("participant_id", ""), "sub")
            self._participants.setdefault(label, []).append(row)
        self._age_unit = _age_unit(root / "participants.json")

    @property
    def listed(self) -> list[str]:
        """Labels in participants.tsv."""
        return [label for label in self._participants if label]

    def participant(self, label: str) -> None:
        """Read one participant's sessions."""
        folder = self.root / f"sub-{label}"
        sessions = sorted(path for path in folder.glob("ses-*") if path.is_dir())
        visits = _by_id(read_table(folder / f"sub-{label}_sessions.tsv"), SESSIONS, "ses")
        several = len({path.name.removeprefix("ses-") for path in sessions} | set(visits)) > 1
        before = len(self.scans), len(self.missing)
        for place in [folder, *sessions]:
            session = None if place == folder else place.name.removeprefix("ses-")
            if self._sessions and session not in self._sessions:
                continue
            self._session(label, session, place, visits.get(session or "", NOBODY), several=several)
        if before == (len(self.scans), len(self.missing)) and not self._sessions:
            told = f" ({PARTICIPANTS_TSV} lists the participant)" if label in self._participants else ""
            self._miss(label, None, None, f"There is no image with a name in _{SUFFIX}{told}.")

    def _session(self, label: str, session: str | None, place: Path, visit: Row, *, several: bool) -> None:
        prefix = f"sub-{label}" if session is None else f"sub-{label}_ses-{session}"
        rows = {row.get("filename", ""): row for row in read_table(place / f"{prefix}_scans.tsv")}
        images = list(self._images(place / "anat", label, session))
        if not images and session is not None and any((place / "anat").glob("*.nii*")):
            self._miss(label, session, None, f"The session has images, and none has a name in _{SUFFIX}.")
        for image, name in images:
            if not image.exists():
                self._miss(label, session, name, "The image is a link to content that is not here (DataLad: get it).")
                continue
            tables = VisitRows(
                participant=self._row(label, None),
                visit=self._row(label, session) if session else NOBODY,
                session=visit,
                scan=rows.get(image.relative_to(place).as_posix(), NOBODY),
                several_visits=several,
                age_unit=self._age_unit,
            )
            self.scans.append(self._scan(image, name, tables))
        for filename in rows:
            listed = parse_name(Path(filename).name)
            if _is_t1w(listed) and not (place / filename).is_symlink() and not (place / filename).exists():
                self._miss(label, session, listed, f"{prefix}_scans.tsv lists the image, and it is not there.")

    def _miss(self, label: str, session: str | None, name: BidsName | None, sentence: str) -> None:
        self.missing.append(Missing(f"sub-{label}", None if session is None else f"ses-{session}", name, sentence))

    def _scan(self, image: Path, name: BidsName, tables: VisitRows) -> Scan:
        sex = first_of(tables.participant, ("sex", "gender"))
        acquisition = acquisition_of(self.sidecars.of(image, name), name)
        return Scan(image.relative_to(self.root), name, read_visit_age(tables), read_sex(sex), acquisition)

    def _row(self, label: str, session: str | None) -> Row:
        """Return the participant's row: the one of the session where there is one for each, else the only one."""
        rows = self._participants.get(label, [])
        if session is None:
            return rows[0] if rows else NOBODY
        return _by_id(rows, SESSIONS, "ses").get(session, NOBODY)

    def _images(self, anat: Path, label: str, session: str | None) -> Iterator[tuple[Path, BidsName]]:
        """Yield the T1-weighted heads, and count what is passed over by why."""
        taken: set[str] = set()
        for path in sorted(anat.glob("*")):
            if not path.name.endswith(IMAGES):
                continue
            name = parse_name(path.name)
            why = _why_passed_over(name, label, session, taken)
            if why is not None:
                self.passed_over[why] += 1
            elif name is not None:
                taken.add(name.stem)
                yield path, name


def _why_passed_over(name: BidsName | None, label: str, session: str | None, taken: Collection[str]) -> str | None:
    if name is None or "sub" not in name.entities or name.extension not in IMAGES:
        return NO_BIDS_NAME
    if name.suffix != SUFFIX:
        return name.suffix
    if name.entities.get("sub") != label or name.entities.get("ses") != session:
        return MISPLACED
    if PROCESSED & name.entities.keys():
        return f"processed {SUFFIX} (space or desc in its name)"
    if name.entities.get("part", "mag") != "mag":
        return f"{SUFFIX} that is no magnitude (part in its name)"
    return "the same name as .nii and .nii.gz" if name.stem in taken else None


def _is_t1w(name: BidsName | None) -> bool:
    return name is not None and name.suffix == SUFFIX and name.extension in IMAGES


def _by_id(rows: list[Row], columns: tuple[str, ...], entity: str) -> dict[str, Row]:
    named = ((without_prefix(first_of(row, columns), entity), row) for row in rows)
    return {label: row for label, row in named if label}


def read_table(path: Path) -> list[Row]:
    """Read a TSV of the dataset; one that is not there has no rows. Raises CommandError."""
    if not path.is_file():
        return []
    try:
        return list(read_tsv(path))
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise CommandError(f"{path.name} cannot be read: {why}") from error


def _age_unit(path: Path) -> str:
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
        unit = said["age"]["Units"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return unit if isinstance(unit, str) else ""
