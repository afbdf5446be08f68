"""Which images of a BIDS dataset are T1-weighted heads, and what its tables and sidecars say of each."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from med3d_cli.bids.ages import (
    ACQUIRED,
    AGES,
    BIRTH_DATES,
    AgeUnits,
    Row,
    VisitRows,
    first_of,
    folded,
    read_sex,
    read_visit_age,
)
from med3d_cli.bids.names import IMAGES, BidsName, is_label, parse_name, without_prefix
from med3d_cli.bids.sidecars import Sidecars, acquisition_of
from med3d_cli.bids.tables import (
    NOBODY,
    SEX,
    Participants,
    age_units,
    beside,
    by_session,
    grouped,
    one_row,
    read_table,
)
from med3d_cli.errors import CommandError
from med3d_contract.ages import AgeReading
from med3d_contract.bids import PARTICIPANTS_TSV
from med3d_contract.results import Sex
from med3d_pipeline.study.acquisition import Acquisition

SUFFIX = "T1w"
PROCESSED = frozenset({"space", "desc", "res", "den", "label"})
NO_GROUPS = frozenset({"participant_id", "session_id", "sex", "gender", *AGES, *BIRTH_DATES, *ACQUIRED})
"""Columns of participants.tsv that no people are grouped by, or that have a place of their own."""
LONGEST_LEVEL = 40
NO_BIDS_NAME = "no name of BIDS"
MISPLACED = "a name of another participant or session than the folder's"
PROCESSED_IMAGE = f"processed {SUFFIX} (space or desc in its name)"
NO_LABEL = "folders or participants with a label that is none of BIDS (letters and digits)"


@dataclass(frozen=True)
class Scan:
    """A ``_T1w`` image with what the dataset says of it. image: below the dataset.

    groups: what participants.tsv says of the person beside age and sex, by column.
    """

    image: Path
    name: BidsName
    age: AgeReading
    sex: Sex | None
    acquisition: Acquisition
    groups: Mapping[str, str] = field(default_factory=dict)

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
    wanted = {without_prefix(label, "sub") for label in participants}
    wanted_sessions = {without_prefix(label, "ses") for label in sessions}
    reading = _Reading(root, wanted_sessions)
    there = reading.labels(root, "sub")
    labels = list(dict.fromkeys([*there, *reading.participants.rows]))
    if not labels:
        raise CommandError(f"{root} is no BIDS dataset: it has no folders sub-* and no {PARTICIPANTS_TSV}")
    _require_known("--participant-label", wanted, labels)
    for label in sorted(wanted or labels):
        try:
            _require_open(root / f"sub-{label}")
            reading.participant(label)
        except PermissionError as error:
            raise CommandError(f"a file or folder of sub-{label} cannot be read: {error.strerror}") from error
    _require_known("--session-label", wanted_sessions, reading.sessions)
    scans = tuple(sorted(reading.scans, key=lambda scan: scan.image.as_posix()))
    return Dataset(
        root, scans, dict(sorted(reading.passed_over.items())), tuple(reading.missing),
        tuple(sorted(reading.sidecars.unreadable)),
    )  # fmt: skip


def _require_open(folder: Path) -> None:
    """Raise PermissionError where a folder below is closed to us, for a listing would pass over it in silence."""

    def stop(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise error

    for _ in os.walk(folder, onerror=stop):
        pass


def _require_known(option: str, wanted: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(wanted) - set(known)):
        raise CommandError(f"{option} names {', '.join(unknown)}, which the dataset does not have", 2)


class _Reading:
    """A dataset while it is read."""

    def __init__(self, root: Path, sessions: Collection[str]) -> None:
        self.root = root
        self.sidecars = Sidecars(root)
        self.scans: list[Scan] = []
        self.passed_over: Counter[str] = Counter()
        self.missing: list[Missing] = []
        self._wanted_sessions = sessions
        self.sessions: set[str] = set()
        """Labels of all sessions of the participants that were read."""
        self.participants = Participants(root)
        if self.participants.no_labels:
            self.passed_over[NO_LABEL] += self.participants.no_labels

    def labels(self, folder: Path, entity: str) -> list[str]:
        """Return the labels of the folders of an entity; those that are none are counted."""
        found = [path.name.removeprefix(f"{entity}-") for path in sorted(folder.glob(f"{entity}-*")) if path.is_dir()]
        self.passed_over.update(NO_LABEL for label in found if not is_label(label))
        return [label for label in found if is_label(label)]

    def participant(self, label: str) -> None:
        """Read one participant's sessions."""
        folder = self.root / f"sub-{label}"
        sessions = self.labels(folder, "ses")
        visits = by_session(read_table(folder / f"sub-{label}_sessions.tsv"))
        known = {*sessions, *visits, *self.participants.sessions(label)}
        self.sessions |= known
        several = len(known) + bool(sessions and any((folder / "anat").glob("*"))) > 1
        before = len(self.scans), len(self.missing)
        for session in [None, *sessions]:
            if self._wanted_sessions and session not in self._wanted_sessions:
                continue
            self._session(label, session, visits.get(session or "", NOBODY), several=several)
        if before == (len(self.scans), len(self.missing)) and not self._wanted_sessions:
            told = f" ({PARTICIPANTS_TSV} lists the participant)" if label in self.participants.rows else ""
            self._miss(label, None, None, f"There is no image with a name in _{SUFFIX}{told}.")

    def _session(self, label: str, session: str | None, visit: Row, *, several: bool) -> None:
        names = [f"sub-{label}"] if session is None else [f"sub-{label}", f"ses-{session}"]
        place, table = self.root.joinpath(*names), f"{'_'.join(names)}_scans.tsv"
        listed_rows = grouped(read_table(place / table), lambda row: row.get("filename", ""))
        rows = {filename: one_row(same) for filename, same in listed_rows.items()}
        images = list(self._images(place / "anat", label, session))
        if not images and session is not None and any((place / "anat").glob("*.nii*")):
            self._miss(label, session, None, f"The session has images, and none has a name in _{SUFFIX}.")
        for image, name in images:
            if not image.exists():
                self._miss(label, session, name, "The image is a link to content that is not here (DataLad: get it).")
                continue
            row = rows.get(image.relative_to(place).as_posix(), NOBODY)
            self.scans.append(self._scan(image, name, self._rows(label, session, visit, row, several=several)))
        for filename in rows:
            listed = parse_name(Path(filename).name)
            if _is_t1w(listed) and not os.path.lexists(place / filename):
                self._miss(label, session, listed, f"{table} lists the image, and it is not there.")

    def _rows(self, label: str, session: str | None, visit: Row, scan: Row, *, several: bool) -> VisitRows:
        units = self.participants.units
        return VisitRows(
            participant=self.participants.person(label),
            visit=self.participants.visit(label, session),
            session=visit,
            scan=scan,
            several_visits=several,
            participants_units=units,
            sessions_units=beside(self._units("sessions", label, None), units, "sessions.tsv"),
            scans_units=beside(self._units("scans", label, session), units, "scans.tsv"),
        )

    def _units(self, kind: str, label: str, session: str | None) -> AgeUnits:
        """Read what the dictionaries of one of the participant's tables say, the root's first."""
        folder, prefix = self.root / f"sub-{label}", f"sub-{label}"
        paths = [self.root / f"{kind}.json", folder / f"{prefix}_{kind}.json"]
        if session is not None:
            paths.append(folder / f"ses-{session}" / f"{prefix}_ses-{session}_{kind}.json")
        return age_units(paths)

    def _miss(self, label: str, session: str | None, name: BidsName | None, sentence: str) -> None:
        self.missing.append(Missing(f"sub-{label}", None if session is None else f"ses-{session}", name, sentence))

    def _scan(self, image: Path, name: BidsName, tables: VisitRows) -> Scan:
        sex = first_of(tables.participant, SEX)
        acquisition = acquisition_of(self.sidecars.of(image, name), name)
        groups = {
            column.strip(): text.strip()
            for column, text in tables.participant.items()
            if column and text and folded(column) not in NO_GROUPS and len(text) <= LONGEST_LEVEL
        }
        return Scan(image.relative_to(self.root), name, read_visit_age(tables), read_sex(sex), acquisition, groups)

    def _images(self, anat: Path, label: str, session: str | None) -> Iterator[tuple[Path, BidsName]]:
        """Yield the T1-weighted heads, and count what is passed over by why."""
        taken: set[str] = set()
        for path in sorted(anat.glob("*"), key=lambda one: (not one.exists(), one.name)):  # a link to nothing is last
            if not path.name.lower().endswith(IMAGES):
                continue
            name = None if path.is_dir() else parse_name(path.name)
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
        return PROCESSED_IMAGE
    if name.entities.get("part", "mag") != "mag":
        return f"{SUFFIX} that is no magnitude (part in its name)"
    return "the same name as .nii and .nii.gz" if name.stem in taken else None


def _is_t1w(name: BidsName | None) -> bool:
    return name is not None and name.suffix == SUFFIX and name.extension in IMAGES
