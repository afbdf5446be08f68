"""Where a cohort is read from: a CSV or Parquet manifest, or a BIDS dataset."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from med3d_contract.bids import PARTICIPANTS_TSV, bids_rows
from med3d_contract.cohort_manifest import NEEDED_FOR_TRAINING, csv_rows, require_columns
from med3d_contract.manifest_row import ManifestError, ManifestRow
from med3d_export.subjects.cohort import Cohort, CohortError
from med3d_export.subjects.cohort_rows import checked_cohort

MANIFEST_NAMES = ("participants.csv", "participants.parquet")


def read_cohort(path: Path, least_subjects: int = 20) -> Cohort:
    """Read a manifest (``.csv`` or ``.parquet``) or a folder that holds one or is a BIDS dataset.

    Columns: participant_id, age (years), sex (F or M), t1w (a file, relative to the manifest's folder); optionally
    site, scanner, sdmt (points) and visit. Others are left alone. Raises CohortError with every faulty row.
    """
    if path.is_dir():
        path = _manifest_in(path)
    try:
        return checked_cohort(_rows(path), path.parent, least_subjects)
    except ManifestError as error:
        raise CohortError(error.problems) from error


def _manifest_in(folder: Path) -> Path:
    for name in (*MANIFEST_NAMES, PARTICIPANTS_TSV):
        if (folder / name).is_file():
            return folder / name
    raise CohortError([f"the folder holds none of {', '.join(MANIFEST_NAMES)} and {PARTICIPANTS_TSV}"])


def _rows(path: Path) -> Iterator[ManifestRow]:
    if path.name == PARTICIPANTS_TSV:
        return bids_rows(path.parent)
    return _parquet_rows(path) if path.suffix == ".parquet" else csv_rows(path, NEEDED_FOR_TRAINING)


def _parquet_rows(path: Path) -> Iterator[ManifestRow]:
    """Rows are numbered as if a header stood above them, so that a message fits the CSV of the same table too."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise CohortError([f"{path.name} cannot be read as Parquet: {error}"]) from error
    require_columns(table.column_names, NEEDED_FOR_TRAINING)
    for number, record in enumerate(table.to_pylist(), start=2):
        yield ManifestRow(number, {column: None if v is None else str(v) for column, v in record.items()})
