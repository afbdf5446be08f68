"""Where a cohort is read from: a CSV or Parquet manifest, or a BIDS dataset."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from med3d_export.bids import PARTICIPANTS_TSV, bids_rows
from med3d_export.cohort import Cohort, CohortError
from med3d_export.cohort_rows import ManifestRow, checked_cohort, require_columns

MANIFEST_NAMES = ("participants.csv", "participants.parquet")


def read_cohort(path: Path, least_subjects: int = 20) -> Cohort:
    """Read a manifest (``.csv`` or ``.parquet``) or a folder that holds one or is a BIDS dataset.

    Columns: participant_id, age (years), sex (F or M), t1w (a file, relative to the manifest's folder); optionally
    site, scanner, sdmt (points) and visit. Others are left alone. Raises CohortError with every faulty row.
    """
    if path.is_dir():
        path = _manifest_in(path)
    if path.name == PARTICIPANTS_TSV:
        return checked_cohort(bids_rows(path.parent), path.parent, least_subjects)
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    return checked_cohort(rows, path.parent, least_subjects)


def _manifest_in(folder: Path) -> Path:
    for name in (*MANIFEST_NAMES, PARTICIPANTS_TSV):
        if (folder / name).is_file():
            return folder / name
    raise CohortError([f"the folder holds none of {', '.join(MANIFEST_NAMES)} and {PARTICIPANTS_TSV}"])


def _csv_rows(path: Path) -> Iterator[ManifestRow]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            require_columns(reader.fieldnames or [])
            for number, record in enumerate(reader, start=2):
                yield ManifestRow(number, record)
    except UnicodeDecodeError as error:
        raise CohortError([f"{path.name} is not UTF-8 text: {error.reason} at byte {error.start}"]) from error


def _parquet_rows(path: Path) -> Iterator[ManifestRow]:
    """Rows are numbered as if a header stood above them, so that a message fits the CSV of the same table too."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise CohortError([f"{path.name} cannot be read as Parquet: {error}"]) from error
    require_columns(table.column_names)
    for number, record in enumerate(table.to_pylist(), start=2):
        yield ManifestRow(number, {column: None if v is None else str(v) for column, v in record.items()})
