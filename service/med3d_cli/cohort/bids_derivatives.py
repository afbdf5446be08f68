"""A cohort's answers as a BIDS derivative (BIDS 1.10): derivatives/med3d/participants.tsv with its JSON sidecar."""

import csv
import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed

BIDS_VERSION = "1.10.0"
README = """\
Brain age and estimated SDMT (Symbol Digit Modalities Test) of each participant by InfoVAE-Med3D, as
`med3d cohort export --bids` wrote them. participants.json explains the columns. Each participant has the answer of the
newest model; who was scanned several times has all visits in sub-*/sub-*_sessions.tsv. Research use only; not a
medical device.
"""
COLUMNS: dict[str, dict[str, str | dict[str, str]]] = {
    "age": {"Description": "Chronological age at the scan", "Units": "year"},
    "sex": {"Description": "Sex, F or M"},
    "brain_age": {"Description": "Estimated brain age", "Units": "year"},
    "brain_age_lower": {"Description": "Lower end of its prediction interval", "Units": "year"},
    "brain_age_upper": {"Description": "Upper end of its prediction interval", "Units": "year"},
    "gap": {"Description": "Brain age minus chronological age", "Units": "year"},
    "gap_corrected": {"Description": "The gap without its regression on age", "Units": "year"},
    "sdmt": {"Description": "Estimated Symbol Digit Modalities Test score; not a measurement", "Units": "points"},
    "sdmt_lower": {"Description": "Lower end of its prediction interval", "Units": "points"},
    "sdmt_upper": {"Description": "Upper end of its prediction interval", "Units": "points"},
    "sdmt_evidence": {"Description": "What labels the SDMT head learned from"},
    "status": {"Description": "completed, refused (an answer without a number) or failed"},
    "code": {"Description": "Why there is no number"},
    "decision": {"Description": "accepted, or review: a person should look before the number is used"},
    "reason_codes": {
        "Description": "Why the decision is review: codes, separated by semicolons; training_scan: the model learned "
        "from this very scan, which belongs into no accuracy"
    },
    "ood_percentile": {"Description": "Percentile of the distance from the training cohort", "Units": "%"},
    "site_correction": {
        "Description": "What the scan's site adds to the latent, taken out or not; n/a: the model corrects for none",
        "Levels": {
            "applied": "taken out",
            "unknown_site": "not taken out, since the model has not learned this site's",
        },
    },
    "calibrated_for": {
        "Description": "Site whose own healthy heads brain age, gaps, interval and percentile are held against; n/a: "
        "the training cohort"
    },
    "bundle": {"Description": "Model bundle, name and version"},
}


def write_derivatives(dataset: Path, rows: Iterable[dict[str, str]]) -> int:
    """Write ``dataset``/derivatives/med3d from rows of a long export; how many participants.

    Of each scan the first row counts, which is the newest bundle's. A participant with several visits has them in
    sub-*/sub-*_sessions.tsv, and the latest by age, else by the visit's name, in participants.tsv. Raises CommandError.
    """
    scans = _scans(rows)
    folder = dataset / "derivatives" / "med3d"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_description(folder)
        _write_table(
            folder / "participants.tsv",
            "participant_id",
            {subject: max(found.values(), key=_order) for subject, found in sorted(scans.items())},
        )
        for subject, found in scans.items():
            _write_sessions(folder, subject, list(found.values()))
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}") from error
    return len(scans)


def _scans(rows: Iterable[dict[str, str]]) -> dict[str, dict[str, dict[str, str]]]:
    """Return rows by the participant's label, then by study."""
    scans: dict[str, dict[str, dict[str, str]]] = {}
    labels: dict[str, str] = {}
    for row in rows:
        if not (name := row["participant_id"]):
            continue
        label = _label("sub", name)
        if labels.setdefault(label, name) != name:
            raise CommandError(f"{labels[label]!r} and {name!r} have the same BIDS label, {label}")
        scans.setdefault(label, {}).setdefault(row["study_id"], row)
    if not scans:
        raise CommandError("the cohort has no answers of participants with a name")
    return scans


def _write_sessions(folder: Path, subject: str, found: list[dict[str, str]]) -> None:
    visits = {_label("ses", row["visit"]): row for row in sorted(found, key=_order) if row["visit"]}
    if len(visits) > 1:
        (folder / subject).mkdir(exist_ok=True)
        _write_table(folder / subject / f"{subject}_sessions.tsv", "session_id", visits)


def _write_description(folder: Path) -> None:
    description = {
        "Name": "InfoVAE-Med3D: brain age and estimated SDMT",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "infovae-med3d", "Version": version("infovae-med3d")}],
    }
    _write_text(folder / "README", README)
    _write_text(folder / "dataset_description.json", json.dumps(description, indent=2) + "\n")


def _write_table(path: Path, key: str, rows: dict[str, dict[str, str]]) -> None:
    with placed(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([key, *COLUMNS])
        for label, row in rows.items():
            writer.writerow([label, *(row[name] or "n/a" for name in COLUMNS)])
    sidecar = {key: {"Description": "As in the dataset that the scans come from"}} | COLUMNS
    _write_text(path.with_suffix(".json"), json.dumps(sidecar, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    with placed(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _label(entity: str, name: str) -> str:
    """BIDS labels are letters and digits."""
    return f"{entity}-" + re.sub(r"[^A-Za-z0-9]", "", name.removeprefix(f"{entity}-").lstrip("'"))


def _order(row: dict[str, str]) -> tuple[float, list[str | int]]:
    """Sort by age, then by the visit's name with its numbers as numbers: ses-2 comes before ses-10."""
    words = enumerate(re.split(r"(\d+)", row["visit"]))  # every second one is a number
    return float(row["age"] or 0), [int(word) if place % 2 else word for place, word in words]
