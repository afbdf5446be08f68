"""group_brainage.tsv, and group_brainage.json that says what each column and each code means."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from med3d_cli.bids.derivative import write_json, write_text
from med3d_cli.bids.group_rows import MISSING, NOT_ANALYSED, GroupRow
from med3d_cli.reports.group_statistics import MOST_GROUPS
from med3d_cli.studies.csv_report import Cell

TABLE, DICTIONARY = "group_brainage.tsv", "group_brainage.json"
Column = dict[str, Any]
_LEVEL = {"Description": "Probability with which the interval holds the true value"}
STATUSES = {
    "completed": "There is a number",
    "refused": "An answer without a number: code and reason say why",
    "failed": "The program broke down; the next run tries again",
    NOT_ANALYSED: "The participant level was not run for this scan",
    MISSING: "The dataset speaks of an image that it does not hold",
}
DECISIONS = {"accepted": "Within what the model was calibrated for", "review": "Look before using it: see reasons"}
COLUMNS: dict[str, Column] = {
    "participant_id": {"Description": "As in the dataset"},
    "session_id": {"Description": "As in the dataset; n/a where it has no sessions"},
    "scan": {"Description": "Name of the image without its extension: one row for each, with all its entities"},
    "image": {"Description": "The image, below the dataset"},
    "sex": {"Description": "Sex as participants.tsv has it", "Levels": {"F": "female", "M": "male"}},
    "manufacturer": {"Description": "Maker of the scanner, from the sidecars"},
    "scanner_model": {"Description": "Model of the scanner, from the sidecars"},
    "field_strength_t": {"Description": "Field strength, from the sidecars", "Units": "T"},
    "repetition_time_ms": {"Description": "Repetition time, from the sidecars", "Units": "ms"},
    "echo_time_ms": {"Description": "Echo time, from the sidecars", "Units": "ms"},
    "inversion_time_ms": {"Description": "Inversion time, from the sidecars", "Units": "ms"},
    "flip_angle_deg": {"Description": "Flip angle, from the sidecars", "Units": "degree"},
    "status": {"Description": "How the analysis ended", "Levels": STATUSES},
    "code": {"Description": "Why there is no number"},
    "reason": {"Description": "The same in a sentence"},
    "brain_age_years": {"Description": "Estimated brain age", "Units": "year"},
    "brain_age_lower": {"Description": "Lower end of its prediction interval", "Units": "year"},
    "brain_age_upper": {"Description": "Upper end of its prediction interval", "Units": "year"},
    "interval_level": _LEVEL,
    "chronological_age_years": {"Description": "Age at the scan", "Units": "year"},
    "gap_years": {"Description": "Brain age minus age", "Units": "year"},
    "gap_lower": {"Description": "Lower end of the gap's prediction interval", "Units": "year"},
    "gap_upper": {"Description": "Upper end of the gap's prediction interval", "Units": "year"},
    "gap_corrected_years": {"Description": "The gap without its regression on age", "Units": "year"},
    "gap_corrected_lower": {"Description": "Lower end of its prediction interval", "Units": "year"},
    "gap_corrected_upper": {"Description": "Upper end of its prediction interval", "Units": "year"},
    "sdmt_points": {"Description": "Estimated Symbol Digit Modalities Test score, no measurement", "Units": "points"},
    "sdmt_evidence": {"Description": "What labels the estimate of the score was learned from"},
    "decision": {"Description": "Whether a person should look before the number is used", "Levels": DECISIONS},
    "reason_codes": {"Description": "Why the decision is review: codes, separated by semicolons"},
    "reasons": {"Description": "The same in sentences"},
    "out_of_distribution_percentile": {
        "Description": "Place of its distance from the training cohort among subjects held out of it", "Units": "%"
    },
    "site_correction": {
        "Description": "Whether what the scan's site adds was taken out; n/a: the model corrects for none",
        "Levels": {"applied": "taken out", "unknown_site": "not taken out: the model has not learned this site's"},
    },
    "calibrated_for": {"Description": "Site whose healthy heads the numbers are held against; n/a: the training's"},
    "quality_failed": {"Description": "Measures of quality outside the model's limits"},
    "input_digest": {"Description": "SHA-256 of the image"},
    "bundle_digest": {"Description": "Digest of the model"},
    "age_note": {"Description": "Where the age is from"},
    "bundle": {"Description": "The model, name and version"},
    "version": {"Description": "Version of infovae-med3d"},
    "tensor_sha256": {"Description": "SHA-256 of the head in template space, as the model saw it"},
}  # fmt: skip


def write_table(out: Path, rows: Sequence[GroupRow]) -> None:
    """Write the table and its dictionary."""
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar=None, quotechar=None
    )
    grouping = grouping_columns(rows)
    writer.writerow([*COLUMNS, *grouping])
    for row in rows:
        told = [row.told.get(name) for name in grouping]
        writer.writerow([_cell(value) for value in [*(row.cells.get(name) for name in COLUMNS), *told]])
    write_text(out / TABLE, text.getvalue())
    write_json(out / DICTIONARY, dictionary(rows))


def grouping_columns(rows: Sequence[GroupRow]) -> list[str]:
    """Return the columns of participants.tsv with few enough levels to tell groups, where none of ours has the name."""
    levels: dict[str, set[str]] = {}
    for row in rows:
        for name, level in row.told.items():
            levels.setdefault(name, set()).add(level)
    return [name for name, found in levels.items() if len(found) <= MOST_GROUPS and name not in COLUMNS]


def dictionary(rows: Sequence[GroupRow]) -> dict[str, Column]:
    """Explain the columns; of codes those that occur, each with its sentence."""
    levels = {"code": refusal_sentences(rows), "reason_codes": review_sentences(rows)}
    ours = {name: said | ({"Levels": levels[name]} if levels.get(name) else {}) for name, said in COLUMNS.items()}
    return ours | {name: {"Description": "As participants.tsv has it"} for name in grouping_columns(rows)}


def refusal_sentences(rows: Sequence[GroupRow]) -> dict[str, str]:
    """Return the codes of scans without a number, each with the sentence that the first of them had."""
    return _first_of_each((str(row.cells["code"]), str(row.cells["reason"])) for row in rows if row.cells.get("code"))


def review_sentences(rows: Sequence[GroupRow]) -> dict[str, str]:
    """Return the codes of reasons to look, each with the sentence that the first of them had."""
    answered = (row.answer.result for row in rows if row.answer and row.answer.result)
    return _first_of_each((one.code, one.sentence) for result in answered for one in result.assessment.reasons)


def _first_of_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for code, sentence in pairs:
        found.setdefault(code, sentence)
    return found


def _cell(value: Cell) -> str:
    if value is None or value == "":
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())


def shown(cells: Mapping[str, Cell], name: str) -> str:
    """Return a cell as people read it: one decimal, nothing for what does not apply."""
    value = cells.get(name)
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)
