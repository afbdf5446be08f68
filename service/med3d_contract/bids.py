"""A BIDS dataset as manifest rows: participants.tsv and sub-*/[ses-*/]anat/*_T1w.nii.gz (BIDS 1.10)."""

import csv
from collections.abc import Iterator
from pathlib import Path

from med3d_contract.manifest_row import ManifestError, ManifestRow

PARTICIPANTS_TSV = "participants.tsv"
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
_SITES = ("site", "site_id", "center", "centre")


def bids_rows(dataset: Path, faults: list[str] | None = None) -> Iterator[ManifestRow]:
    """Return one row per session with a T1w image; rows carry the number of the participant's line in participants.tsv.

    Sex is read in any of BIDS's spellings. The age of a session is taken from sub-*_sessions.tsv, or from a row of
    participants.tsv that names the session. A participant's one age is nobody's at several visits: it is left out
    there. Of several runs in one session the first by name is taken. A participant without an image is named, with the
    row, in ``faults``; where that is None, ManifestError is raised with all of them.
    """
    participants = read_tsv(dataset / PARTICIPANTS_TSV)
    if not participants or "participant_id" not in participants[0]:
        raise ManifestError([f"row 1: {PARTICIPANTS_TSV} has no column participant_id, or no rows"])
    problems, found = [], []
    for number, record in enumerate(participants, start=2):
        name = record["participant_id"]
        subject = name if name.startswith("sub-") else f"sub-{name}"
        everything = t1w_images(dataset / subject) if name else {}
        if not everything:
            problems.append(f"row {number}: {subject} has no anat/*_T1w.nii.gz")
        visit = session_of(record)
        images = {session: image for session, image in everything.items() if visit in {None, session}}
        if everything and not images:
            problems.append(f"row {number}: {subject} has no session {visit} with anat/*_T1w.nii.gz")
        ages = session_ages(dataset / subject / f"{subject}_sessions.tsv")
        several = len(everything) > 1
        for session, image in images.items():
            values = _values(record, subject, session if several else "", image.relative_to(dataset))
            known = ages.get(session) or ("" if several and visit is None else values["age"])
            found.append(ManifestRow(number, values | {"age": known}))
    if problems and faults is None:
        raise ManifestError(problems)
    if faults is not None:
        faults += problems
    yield from found


def session_of(record: dict[str, str]) -> str | None:
    """Return the session that a row of participants.tsv is about, as its folder is named; None: all of them."""
    said = record.get("session_id", "") or record.get("session", "")
    return None if not said else said if said.startswith("ses-") else f"ses-{said}"


def t1w_images(subject: Path) -> dict[str, Path]:
    """Return the first T1w image of each session; the session is "" where the dataset has none."""
    first: dict[str, Path] = {}
    folders = [("", subject), *((folder.name, folder) for folder in sorted(subject.glob("ses-*")))]
    for session, folder in folders:
        images = sorted(p for p in (folder / "anat").glob("*_T1w.nii*") if p.name.endswith((".nii", ".nii.gz")))
        if images:
            first[session] = images[0]
    return first


def session_ages(path: Path) -> dict[str, str]:
    """Return the age of each session that a sub-*_sessions.tsv tells; empty where there is no such file."""
    if not path.is_file():
        return {}
    return {record.get("session_id", ""): record.get("age", "") for record in read_tsv(path)}


def _values(record: dict[str, str], subject: str, session: str, image: Path) -> dict[str, str | None]:
    sex = record.get("sex", "")
    values: dict[str, str | None] = {
        "participant_id": subject,
        "age": record.get("age", ""),
        "sex": _SEXES.get(sex.lower(), sex),
        "t1w": image.as_posix(),
        "scanner": record.get("scanner", "") or record.get("manufacturers_model_name", ""),
        "sdmt": record.get("sdmt", "") or record.get("SDMT", ""),
        "visit": session,
    }
    site = next((record[column] for column in _SITES if column in record), None)
    return values if site is None else values | {"site": site}


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Return rows of a TSV by column; what BIDS calls "n/a" is empty."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t", restval="")
        return [{column.strip(): _text(value) for column, value in row.items() if column} for row in reader]


def _text(value: str | None) -> str:
    said = (value or "").strip()
    return "" if said == "n/a" else said
