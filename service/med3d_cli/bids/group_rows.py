"""What a dataset's scans gave together: a row for each, also for those without an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from med3d_cli.bids.answers import ScanAnswer, basis_of, read_answer
from med3d_cli.bids.dataset import SUFFIX, Dataset, Missing, Scan
from med3d_cli.bids.derivative import files_of
from med3d_cli.studies.csv_report import Cell, csv_row

NOT_ANALYSED, MISSING = "not_analysed", "missing"
MISSING_IMAGE = "missing_image"
NOT_ANALYSED_SENTENCE = "There is no answer yet, or one of another release. Run the participant level for this scan."
FROM_ANSWER = (
    "status", "code", "reason", "brain_age_years", "brain_age_lower", "brain_age_upper", "interval_level",
    "chronological_age_years", "gap_years", "gap_lower", "gap_upper", "gap_corrected_years", "gap_corrected_lower",
    "gap_corrected_upper", "sdmt_points", "sdmt_evidence", "decision", "reason_codes", "reasons",
    "out_of_distribution_percentile", "site_correction", "calibrated_for", "quality_failed", "input_digest",
    "bundle_digest",
)  # fmt: skip
"""Columns that `med3d analyse --csv` has, too."""


@dataclass(frozen=True)
class GroupRow:
    """One scan, or one that is missing. answer: None where there is none. is_stale: tables or sidecars have changed.

    told: what participants.tsv says of the person beside age and sex, by column.
    """

    participant: str
    session: str | None
    scan: str
    image: str | None
    cells: Mapping[str, Cell]
    answer: ScanAnswer | None = None
    figure: Path | None = None
    is_stale: bool = False
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The run's status, or why there is no run."""
        return str(self.cells["status"])


def group_rows(dataset: Dataset, out: Path) -> list[GroupRow]:
    """Return the scans of ``dataset`` with their answers below ``out``, then what is missing."""
    return [*(_row(scan, out) for scan in dataset.scans), *(_missing(one) for one in dataset.missing)]


def columns(rows: Sequence[GroupRow]) -> list[str]:
    """Return the names of all cells, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row.cells))


def _row(scan: Scan, out: Path) -> GroupRow:
    answer = read_answer(out / files_of(scan).answer)
    told = scan.acquisition
    about: dict[str, Cell] = {
        "participant_id": scan.participant,
        "session_id": scan.session,
        "scan": scan.name.stem,
        "image": scan.image.as_posix(),
        "sex": scan.sex.value if scan.sex else None,
        "manufacturer": told.manufacturer,
        "scanner_model": told.model,
        "field_strength_t": told.field_strength_t,
        "repetition_time_ms": told.tr_ms,
        "echo_time_ms": told.te_ms,
        "inversion_time_ms": told.ti_ms,
        "flip_angle_deg": told.flip_deg,
    }
    if answer is None:
        said = _unanswered(NOT_ANALYSED, NOT_ANALYSED, NOT_ANALYSED_SENTENCE)
        unanswered = about | said
        return GroupRow(
            scan.participant, scan.session, scan.name.stem, scan.image.as_posix(), unanswered, told=scan.groups
        )
    found = csv_row(answer)
    basis = answer.basis
    cells: dict[str, Cell] = {name: found.get(name) for name in FROM_ANSWER}
    cells["age_note"] = basis.age.note if basis.age else None
    cells |= {"bundle": f"{basis.bundle.name} {basis.bundle.version}", "version": basis.version}
    cells["tensor_sha256"] = answer.tensor_sha256
    now = basis_of(scan, basis.image_sha256, basis.bundle, basis.calibrations, basis.version)
    figure = answer.files.get("figure")
    return GroupRow(
        scan.participant, scan.session, scan.name.stem, scan.image.as_posix(), about | cells, answer,
        None if figure is None else out / figure, is_stale=now != basis, told=scan.groups,
    )  # fmt: skip


def _missing(one: Missing) -> GroupRow:
    where = "_".join(filter(None, (one.participant, one.session)))
    name = one.name.stem if one.name else f"{where}_{SUFFIX}"
    about: dict[str, Cell] = {"participant_id": one.participant, "session_id": one.session, "scan": name}
    said = _unanswered(MISSING, MISSING_IMAGE, one.sentence)
    return GroupRow(one.participant, one.session, name, None, about | said)


def _unanswered(status: str, code: str, sentence: str) -> dict[str, Cell]:
    return {"status": status, "code": code, "reason": sentence}
