"""The members of a cohort with their answers by some bundles, read as a stream of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, and_, func, select
from sqlalchemy.orm import Session, aliased

from med3d_service.cohorts.figures import joined_words
from med3d_service.cohorts.tables import CohortMemberRow, FiguresRow, ScanFactsRow
from med3d_service.storage.tables import RunRow, StudyRow

AT_ONCE = 500
TRAINING_SCAN = "training_scan"
DRAWN = tuple(name for name in FiguresRow.__table__.columns.keys() if name != "run_id")  # noqa: SIM118 - not a dict


@dataclass(frozen=True)
class Answer:
    """A member's answer by one bundle; every figure None where it has none. status None: it was not run."""

    run_id: str | None
    status: str | None
    fault: str | None
    figures: dict[str, Any]

    @property
    def brain_age(self) -> float | None:
        """Years."""
        value: float | None = self.figures["brain_age"]
        return value

    @property
    def is_training_scan(self) -> bool:
        """Whether the model learned from this very scan, so that its error is none of a new scan."""
        return TRAINING_SCAN in (self.figures["reason_codes"] or "").split("; ")

    @property
    def code(self) -> str | None:
        """Why there is no number: of the refusal, or of the fault."""
        return self.figures["code"] or self.fault


@dataclass(frozen=True)
class Member:
    """A member, and its answers in the order of the bundles that were asked for."""

    study_id: str
    received_at: float
    age: float | None
    sex: str | None
    visit: str | None
    scan_site: str | None
    scanner: str | None
    sdmt: float | None
    answers: tuple[Answer, ...]


def member_rows(session: Session, cohort_id: str, bundle_digests: Sequence[str]) -> Iterator[Member]:
    """Return every member in the order in which the studies came, a few hundred in memory at a time."""
    runs = [aliased(RunRow) for _ in bundle_digests]
    figures = [aliased(FiguresRow) for _ in bundle_digests]
    columns: list[Any] = [
        StudyRow.id,
        StudyRow.created_at,
        func.coalesce(StudyRow.stated_age, StudyRow.found_age["years"].as_float(), type_=Float),
        func.coalesce(StudyRow.stated_sex, StudyRow.found_sex),
        ScanFactsRow.visit,
        ScanFactsRow.scan_site,
        ScanFactsRow.scanner,
        ScanFactsRow.sdmt,
    ]
    for run, drawn in zip(runs, figures, strict=True):
        columns += [run.id, run.status, run.failure["code"].as_string(), *(getattr(drawn, name) for name in DRAWN)]
    query = (
        select(*columns)
        .select_from(CohortMemberRow)
        .join(StudyRow, StudyRow.id == CohortMemberRow.study_id)
        .outerjoin(ScanFactsRow, ScanFactsRow.study_id == StudyRow.id)
    )
    for digest, run, drawn in zip(bundle_digests, runs, figures, strict=True):
        current = and_(
            run.study_id == StudyRow.id,
            run.bundle_digest == digest,
            run.chosen_series == "",
            run.superseded_by.is_(None),
        )
        query = query.outerjoin(run, current).outerjoin(drawn, drawn.run_id == run.id)
    query = query.where(CohortMemberRow.cohort_id == cohort_id).order_by(StudyRow.seq)
    for row in session.execute(query, execution_options={"yield_per": AT_ONCE}):
        yield _member(row, len(bundle_digests))


def _member(row: Any, bundles: int) -> Member:
    width, first = 3 + len(DRAWN), 8
    answers = []
    for number in range(bundles):
        start = first + number * width
        figures = dict(zip(DRAWN, row[start + 3 : start + width], strict=True))
        answers.append(Answer(row[start], row[start + 1], row[start + 2], figures))
    known = next((answer.figures for answer in answers if answer.figures["manufacturer"]), {})
    tesla = f"{known['field_strength_t']:g} T" if known.get("field_strength_t") else None
    scanner = row[6] or joined_words(known.get("manufacturer"), known.get("model"), tesla)
    study_id, received_at, age, sex, visit, scan_site = row[:6]
    return Member(study_id, received_at, age, sex, visit, scan_site, scanner, row[7], tuple(answers))
