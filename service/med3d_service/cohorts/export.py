"""A cohort as a table: a row for each answer (long), or for each member (wide)."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.spreadsheets import safe_text
from med3d_service.cohorts.member_rows import Answer, Member
from med3d_service.problems import ServiceError
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import BundleRow, IdentifierRow

Layout = Literal["long", "wide"]
Cell = str | float | None
ROWS_AT_ONCE = 500
DIGITS = 4
"""Behind the point: a year's ten-thousandth. Further ones are those of float32."""
OF_MEMBER = ("participant_id", "visit", "study_id", "age", "sex", "site", "scanner", "sdmt_measured")
OF_ANSWER = (
    "status", "code", "brain_age", "brain_age_lower", "brain_age_upper", "gap", "gap_corrected", "sdmt", "sdmt_lower",
    "sdmt_upper", "sdmt_evidence", "decision", "ood_percentile", "site_correction",
    "calibrated_for", "reason_codes", "quality", "run_id",
)  # fmt: skip
TEXTS = frozenset(
    {"participant_id", "visit", "study_id", "sex", "site", "scanner", "bundle", "bundle_digest", "status", "code"}
) | {"sdmt_evidence", "decision", "site_correction", "calibrated_for", "run_id", "reason_codes", "quality"}


def columns_of(layout: Layout, bundles: Sequence[BundleRow]) -> list[str]:
    """Return the table's columns; wide ones carry the bundle's version behind their name."""
    if layout == "long":
        return [*OF_MEMBER, "bundle", "bundle_digest", *OF_ANSWER]
    return [*OF_MEMBER, *(f"{name}__{_named(bundle)}" for bundle in bundles for name in OF_ANSWER)]


def table_rows(
    session: Session, vault: IdentifierVault, members: Iterable[Member], layout: Layout, bundles: Sequence[BundleRow]
) -> Iterator[list[Cell]]:
    """Return the table's rows. Answers that are not there are left out where long, and empty where wide."""
    for some in _batches(members):
        names = _participants(session, vault, [member.study_id for member in some])
        for member in some:
            about = _of_member(member, names.get(member.study_id))
            answers = [_of_answer(member, answer) for answer in member.answers]
            if layout == "wide":
                yield [*about, *(cell for cells in answers for cell in cells)]
                continue
            for bundle, answer, cells in zip(bundles, member.answers, answers, strict=True):
                if answer.run_id is not None:
                    yield [*about, _named(bundle), bundle.digest, *cells]


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """Yield UTF-8 text in pieces. Texts that a spreadsheet would take for a formula get an apostrophe before them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        writer.writerow([_safe(cell) for cell in row])
        if number % ROWS_AT_ONCE == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def as_parquet(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return the table as Parquet. Raises ServiceError("no_parquet") where pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ServiceError("no_parquet") from error
    kinds = [pa.string() if name.split("__")[0] in TEXTS else pa.float64() for name in columns]
    schema = pa.schema(list(zip(columns, kinds, strict=True)))
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for some in _batches(rows):
            cells = list(zip(*some, strict=True))
            arrays = [pa.array(column, kind) for column, kind in zip(cells, kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return sink.getvalue()


def _of_member(member: Member, participant: str | None) -> list[Cell]:
    facts = (member.visit, member.study_id, member.age, member.sex, member.scan_site, member.scanner, member.sdmt)
    return [participant, *facts]


def _of_answer(member: Member, answer: Answer) -> list[Cell]:
    figures: dict[str, Any] = answer.figures
    known = answer.brain_age is not None and member.age is not None
    gap = answer.brain_age - member.age if known else None  # type: ignore[operator]
    cells = [
        answer.status,
        answer.code,
        answer.brain_age,
        figures["brain_age_lower"],
        figures["brain_age_upper"],
        gap,
        figures["gap_corrected"],
        figures["sdmt"],
        figures["sdmt_lower"],
        figures["sdmt_upper"],
        figures["sdmt_evidence"],
        figures["decision"],
        figures["percentile"],
        figures["site_correction"],
        figures["calibrated_for"],
        figures["reason_codes"],
        _measures(figures["measures"]),
        answer.run_id,
    ]
    return [round(cell, DIGITS) if isinstance(cell, float) else cell for cell in cells]


def _measures(measures: dict[str, float | None] | None) -> str | None:
    """Return the measures of quality as one JSON object: their names are the bundle's."""
    return None if measures is None else json.dumps(measures, sort_keys=True)


def _participants(session: Session, vault: IdentifierVault, study_ids: Sequence[str]) -> dict[str, str]:
    """Return the senders' pseudonyms by study."""
    sealed = select(IdentifierRow).where(IdentifierRow.kind == "subject", IdentifierRow.study_id.in_(study_ids))
    return {row.study_id: vault.opened(row) for row in session.scalars(sealed)}


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(islice(left, ROWS_AT_ONCE)):
        yield some


def _named(bundle: BundleRow) -> str:
    return f"{bundle.name}@{bundle.version}"


def _safe(cell: Cell) -> Cell:
    return safe_text(cell) if isinstance(cell, str) else cell


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
