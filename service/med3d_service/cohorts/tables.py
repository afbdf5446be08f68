"""The tables of cohorts. Times as in storage.tables; whose scan it is stays sealed with the identifiers."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, ID, STATUS, Base


class CohortRow(Base):
    """A named set of studies of one site. ``bundle`` None: the default one, as it is when a night begins."""

    __tablename__ = "cohorts"
    __table_args__ = (UniqueConstraint("site", "name"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    site: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    bundle: Mapped[str | None] = mapped_column(String(300))
    schedule: Mapped[dict[str, Any] | None]
    member_filter: Mapped[dict[str, Any] | None]
    created_at: Mapped[float]
    night_begun_at: Mapped[float | None]  # when the night opened that was seen to last
    night_fault: Mapped[str | None] = mapped_column(String(64))  # why it could not begin


class CohortMemberRow(Base):
    """A study belongs to a cohort."""

    __tablename__ = "cohort_members"
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohorts.id"), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True, index=True)
    added_at: Mapped[float]


class ScanFactsRow(Base):
    """What a cohort's manifest says of a study, beside age and sex. ``sdmt``: measured, points."""

    __tablename__ = "scan_facts"
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    visit: Mapped[str | None] = mapped_column(String(80))
    scan_site: Mapped[str | None] = mapped_column(String(80))
    scanner: Mapped[str | None] = mapped_column(String(80))
    sdmt: Mapped[float | None]


class ReprocessingRow(Base):
    """A cohort's way through one bundle; a cohort has one at a time. Its runs name it (RunRow.reprocessing_id)."""

    __tablename__ = "reprocessings"
    __table_args__ = (
        Index(
            "uq_reprocessings_under_way",
            "cohort_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohorts.id"), index=True)
    bundle_digest: Mapped[str] = mapped_column(DIGEST)
    status: Mapped[str] = mapped_column(STATUS)
    in_window: Mapped[bool]
    retry_faults: Mapped[bool]
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class FiguresRow(Base):
    """The figures of an answer in columns, drawn from the run's JSON when a report first needs them; may be dropped.

    brain_age in years, sdmt in points, distance and percentile as in OutOfDistribution, pca in the bundle's axes.
    """

    __tablename__ = "figures"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    code: Mapped[str | None] = mapped_column(String(64))  # of a refusal
    brain_age: Mapped[float | None]
    brain_age_lower: Mapped[float | None]
    brain_age_upper: Mapped[float | None]
    gap_corrected: Mapped[float | None]
    sdmt: Mapped[float | None]
    sdmt_lower: Mapped[float | None]
    sdmt_upper: Mapped[float | None]
    sdmt_evidence: Mapped[str | None] = mapped_column(String(200))
    decision: Mapped[str | None] = mapped_column(STATUS)
    distance: Mapped[float | None]
    percentile: Mapped[float | None]
    pca_1: Mapped[float | None]
    pca_2: Mapped[float | None]
    measures: Mapped[dict[str, Any] | None]
    manufacturer: Mapped[str | None] = mapped_column(String(80))
    model: Mapped[str | None] = mapped_column(String(80))
    field_strength_t: Mapped[float | None]
    sequence: Mapped[str | None] = mapped_column(String(200))
    preprocessing_digest: Mapped[str | None] = mapped_column(DIGEST)
    site_correction: Mapped[str | None] = mapped_column(STATUS)
    calibrated_for: Mapped[str | None] = mapped_column(String(64))
    reason_codes: Mapped[str | None] = mapped_column(String(600))  # null: drawn before there was this column
