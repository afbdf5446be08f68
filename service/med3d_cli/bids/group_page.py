"""group_brainage.html: what a dataset's scans gave together, for people to look at. It fetches nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from med3d_cli.bids.dataset import Dataset
from med3d_cli.bids.derivative import write_text
from med3d_cli.bids.group_rows import GroupRow
from med3d_cli.bids.scans import PAGE
from med3d_cli.reports.group_page import FlowStep, GroupReport, GroupScan, group_page
from med3d_cli.reports.methods import Made, citation, methods_paragraphs
from med3d_cli.reports.mosaics import thumbnail

COLUMNS = {
    "sex": "sex",
    "session": "session_id",
    "manufacturer": "manufacturer",
    "scanner": "scanner_model",
    "field strength (T)": "field_strength_t",
}
"""Variables that every dataset has, by the columns of the group's table."""


def write_page(out: Path, dataset: Dataset, rows: Sequence[GroupRow]) -> None:
    """Write the page."""
    write_text(out / PAGE, dataset_page(dataset, rows, out))


def dataset_page(dataset: Dataset, rows: Sequence[GroupRow], out: Path) -> str:
    """Render the page of the derivative in ``out``."""
    told = {scan.name.stem: scan.groups for scan in dataset.scans}
    scans = [_as_scan(row, dict(told.get(row.scan, {})), out) for row in rows]
    made = [Made(row.answer, row.answer.basis.bundle) for row in rows if row.answer is not None]
    return group_page(
        GroupReport(
            title="Brain age of a BIDS dataset",
            scans=scans,
            before=[images_looked_at(dataset.passed_over, rows)],
            methods=methods_paragraphs(made),
            citation=citation(made),
            variables=list(dict.fromkeys(name for one in scans for name in one.groups)),
        )
    )


def images_looked_at(passed_over: Mapping[str, int], rows: Sequence[GroupRow]) -> FlowStep:
    """Return the step before the scans: images that are there, or should be, and what is no scan."""
    missing = sum(row.image is None for row in rows)
    words = f"images looked at, {missing} missing among them" if missing else "images looked at"
    return FlowStep(
        words, len(rows) + sum(passed_over.values()), [(f"images: {why}", n) for why, n in passed_over.items()]
    )


def _as_scan(row: GroupRow, told: dict[str, str], out: Path) -> GroupScan:
    cells = row.cells
    common = {name: _level(cells[column]) for name, column in COLUMNS.items() if cells.get(column) is not None}
    page = row.answer.files.get("page") if row.answer else None
    return GroupScan(
        name=row.scan,
        person=row.participant,
        status=row.status,
        result=row.answer.result if row.answer else None,
        code=None if cells.get("code") is None else str(cells["code"]),
        reason=None if cells.get("reason") is None else str(cells["reason"]),
        page=page if page and (out / page).is_file() else None,
        picture=_picture(row.figure),
        groups=common | told,
    )


def _level(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _picture(figure: Path | None) -> str | None:
    try:
        return None if figure is None else thumbnail(figure.read_bytes())
    except OSError:  # taken away since; the table has the scan all the same
        return None
