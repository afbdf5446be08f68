"""The database's tables. The database is the truth; queue and store only serve it.

Times are seconds since 1970 (UTC) by the database's own clock, so that leases do not depend on the machines' clocks.
"""

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(36)
DIGEST = String(64)
STATUS = String(16)
NO_RUN_WAITS = 9
"""Behind every priority of a run: the working copies of studies that were kept for later are made last."""


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {float: Double, dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON(none_as_null=True)}  # noqa: RUF012


class SealedRow:
    """A row that grants or proves: an HMAC is over the columns that count, the first of them its id (storage.guard).

    Columns that are left out grant nothing. ``SEALED_AS`` is what entries of the audit trail call it.
    """

    SEALED_AS: ClassVar[str]
    SEALED_COLUMNS: ClassVar[tuple[str, ...]]
    seal: Mapped[str | None] = mapped_column(DIGEST)


class ApiKeyRow(SealedRow, Base):
    """A key that may call the API, by its digest: the key itself is shown once and kept nowhere."""

    __tablename__ = "api_keys"
    SEALED_AS = "key"
    SEALED_COLUMNS = (
        "prefix", "key_sha256", "name", "role", "clinical", "site", "created_at", "expires_at", "revoked_at",
    )  # fmt: skip
    prefix: Mapped[str] = mapped_column(String(12), primary_key=True)
    key_sha256: Mapped[str] = mapped_column(DIGEST)
    name: Mapped[str] = mapped_column(String(200))  # what it is for, in the operator's words
    role: Mapped[str] = mapped_column(String(16))
    clinical: Mapped[bool]  # may see, and search by, what names a patient
    site: Mapped[str] = mapped_column(String(64))  # whose studies it sees; * for all
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class BundleRow(SealedRow, Base):
    """A model bundle that some worker carries or an operator listed."""

    __tablename__ = "bundles"
    SEALED_AS = "bundle"
    SEALED_COLUMNS = ("digest", "name", "version", "first_seen_at", "is_default", "preprocessing_digest")
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(64))
    first_seen_at: Mapped[float]
    is_default: Mapped[bool]
    preprocessing_digest: Mapped[str | None] = mapped_column(DIGEST)  # as the workers that carry it compute it


class CalibrationRow(SealedRow, Base):
    """A site's calibration, as it was sent: workers verify its signature, and nothing here vouches for it."""

    __tablename__ = "calibrations"
    SEALED_AS = "calibration"
    SEALED_COLUMNS = (
        "digest", "owner", "bundle_digest", "site", "heads", "created", "expires", "file", "signature", "added_at",
        "withdrawn_at",
    )  # fmt: skip
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    owner: Mapped[str] = mapped_column(String(64), primary_key=True)  # the site of whose studies it may be used
    bundle_digest: Mapped[str] = mapped_column(DIGEST, index=True)
    site: Mapped[str] = mapped_column(String(64))  # the label that answers show
    heads: Mapped[int]
    created: Mapped[str] = mapped_column(String(10))  # the day it was made, as 2027-01-31
    expires: Mapped[str] = mapped_column(String(10))  # the last day
    file: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    added_at: Mapped[float]
    withdrawn_at: Mapped[float | None]


class WorkerRow(Base):
    """A worker as it last introduced itself."""

    __tablename__ = "workers"
    worker_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    contract_version: Mapped[int]
    software: Mapped[dict[str, Any]]
    providers: Mapped[list[Any]]
    bundles: Mapped[list[Any]]
    queues: Mapped[list[Any]]
    seen_at: Mapped[float] = mapped_column(index=True)
    told_silent: Mapped[bool] = mapped_column(default=False)  # its silence stands in log and metric already


class BeatRow(Base):
    """The last sign of life of the service's own processes: no lease ends while the API that renews it is away."""

    __tablename__ = "beats"
    process: Mapped[str] = mapped_column(String(64), primary_key=True)
    beat_at: Mapped[float]


class StoreIdentityRow(Base):
    """The one store that this database belongs to, by the id in its marker."""

    __tablename__ = "store_identity"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    store_id: Mapped[str] = mapped_column(ID)
    recorded_at: Mapped[float]


class StudyRow(Base):
    """A study. ``digest`` is over the set of its instances' digests: the study's identity within one site."""

    __tablename__ = "studies"
    __table_args__ = (
        UniqueConstraint("site", "digest"),
        Index("ix_studies_pixels", "site", "pixel_digest"),
        Index("ix_studies_site_seq", "site", "seq"),
        Index("ix_studies_to_copy", "working_status", "working_priority", "seq"),
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    site: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(DIGEST)
    pixel_digest: Mapped[str | None] = mapped_column(DIGEST)  # of what its images show, whatever their UIDs
    created_at: Mapped[float]
    files: Mapped[int]
    skipped_files: Mapped[int]
    stated_age: Mapped[float | None]
    stated_sex: Mapped[str | None] = mapped_column(String(1))
    found_age: Mapped[dict[str, Any] | None]  # what all images agree on
    series_ages: Mapped[dict[str, Any] | None]  # the same of each series, by its stand-in UID
    found_sex: Mapped[str | None] = mapped_column(String(1))
    working_status: Mapped[str] = mapped_column(STATUS)  # CopyStatus; copy_states alone changes it
    working_priority: Mapped[int] = mapped_column(default=NO_RUN_WAITS)  # of the most urgent run that was asked for
    working_key: Mapped[str | None] = mapped_column(String(200))
    working_sha256: Mapped[str | None] = mapped_column(DIGEST)
    working_lease_until: Mapped[float | None]
    working_claim: Mapped[int] = mapped_column(default=0)  # counts up for ever: the fence of who took it before
    working_tries: Mapped[int]
    refusal: Mapped[dict[str, Any] | None]
    input_removed_at: Mapped[float | None]  # by retention: its images are gone, its answers are not
    corrected_by: Mapped[str | None] = mapped_column(
        ID
    )  # the study that holds the same images of the patient corrected


class UploadRow(Base):
    """One encrypted container in the store with the originals of one upload."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    key: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(DIGEST)
    stored_bytes: Mapped[int] = mapped_column(BigInteger)


class InstanceRow(Base):
    """One file of a study: its digest, and where its bytes lie in the upload's container."""

    __tablename__ = "instances"
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    kind: Mapped[str] = mapped_column(STATUS)
    name: Mapped[str] = mapped_column(String(300), default="")  # of one of several volumes: sent_files.volume_names
    offset_bytes: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class IdentifierRow(Base):
    """An identifier of the original, encrypted; ``blind_index`` (HMAC) lets those who may find it again."""

    __tablename__ = "identifiers"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    blind_index: Mapped[str | None] = mapped_column(DIGEST, index=True)
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)


class RunRow(Base):
    """One analysis of one study by one bundle. Only runs.transitions changes ``status``."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(
            "uq_runs_current",
            "study_id",
            "bundle_digest",
            "chosen_series",
            unique=True,
            sqlite_where=text("superseded_by IS NULL"),
            postgresql_where=text("superseded_by IS NULL"),
        ),
        Index("ix_runs_status_seq", "status", "seq"),
        Index("ix_runs_study", "study_id"),
        Index("ix_runs_status_priority_created", "status", "priority", "created_at"),
        Index("ix_runs_decision_seq", "decision", "seq"),
        Index("ix_runs_line", "status", "priority", "dispatched_at", "seq"),
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"))
    bundle_digest: Mapped[str] = mapped_column(ForeignKey("bundles.digest"))
    chosen_series: Mapped[str] = mapped_column(String(300))  # empty: the ranking chooses
    superseded_by: Mapped[str | None] = mapped_column(ID)
    status: Mapped[str] = mapped_column(STATUS)
    stage: Mapped[str | None] = mapped_column(String(100))
    priority: Mapped[int]  # as in the queue: 0 goes first
    attempt: Mapped[int]  # of the latest claim, the fence against older ones
    tries: Mapped[int]  # charged to the stage in hand
    retries: Mapped[int]  # times that the run went back to wait
    alone: Mapped[bool]  # predicted without neighbours: it was in a batch that was lost
    held: Mapped[bool] = mapped_column(default=False)  # waits, and is not to be begun: its reprocessing rests
    reprocessing_id: Mapped[str | None] = mapped_column(ID, index=True)
    worker_id: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    dispatched_at: Mapped[float | None]
    lease_expires_at: Mapped[float | None]
    preprocessed: Mapped[dict[str, Any] | None]
    refusal: Mapped[dict[str, Any] | None]
    failure: Mapped[dict[str, Any] | None]
    series: Mapped[dict[str, Any] | None]
    quality: Mapped[dict[str, Any] | None]
    provenance: Mapped[dict[str, Any] | None]
    source: Mapped[dict[str, Any] | None]
    pictures: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    decision: Mapped[str | None] = mapped_column(STATUS)  # of the result: accepted or review
    tensor_removed_at: Mapped[float | None]  # by retention
    withdrawn_at: Mapped[float | None]  # its patient was corrected: nothing of it goes out any more


class AttemptRow(Base):
    """One claim of one stage, and how it ended (None while it is in hand)."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_stage_ended", "stage", "ended_at"),)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(STATUS)  # preprocess or predict
    worker_id: Mapped[str] = mapped_column(String(200))
    batch_size: Mapped[int]
    claimed_at: Mapped[float]
    heard_at: Mapped[float | None]  # its holder's first heartbeat: before, the answer to the claim may be lost
    ended_at: Mapped[float | None]
    ending: Mapped[str | None] = mapped_column(STATUS)


class RunEventRow(Base):
    """What happened to a run, in order. ``seq`` is the event's id in GET /runs/{id}/events."""

    __tablename__ = "run_events"
    __table_args__ = (Index("ix_run_events_run_seq", "run_id", "seq"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    at: Mapped[float]
    status: Mapped[str] = mapped_column(STATUS)
    stage: Mapped[str | None] = mapped_column(String(100))
    attempt: Mapped[int]
    code: Mapped[str | None] = mapped_column(String(64))


class ReportRow(Base):
    """A DICOM object that was made of a run, where it lies sealed, and the digest of the file that lies there."""

    __tablename__ = "reports"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(STATUS, primary_key=True)  # sr, pdf, sc; sr-... after a verdict
    key: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(DIGEST)
    stored_bytes: Mapped[int] = mapped_column(BigInteger)


class VerdictRow(SealedRow, Base):
    """What a person made of a run's answer. Rows are only added; the latest that is no comment stands."""

    __tablename__ = "verdicts"
    SEALED_AS = "verdict"
    SEALED_COLUMNS = ("id", "run_id", "verdict", "why", "reader", "given_by", "given_at")
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    verdict: Mapped[str] = mapped_column(STATUS)
    why: Mapped[bytes] = mapped_column(LargeBinary)  # sealed: people write names into what they type
    reader: Mapped[str] = mapped_column(String(100))
    given_by: Mapped[str] = mapped_column(String(240))
    given_at: Mapped[float]


class OutboxRow(Base):
    """An answer that was stored and not yet looked at by the deliverer: written in the answer's own transaction."""

    __tablename__ = "outbox"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    answered_at: Mapped[float]


class DeliveryRow(Base):
    """One object of one run on its way to one destination. ``object_uid`` is the same each time that it is sent."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("run_id", "kind", "destination"),
        Index("ix_deliveries_due", "destination", "status", "next_try_at"),
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str] = mapped_column(STATUS)  # sr, pdf, sc, event
    destination: Mapped[str] = mapped_column(String(80))
    object_uid: Mapped[str] = mapped_column(DIGEST)
    status: Mapped[str] = mapped_column(STATUS)  # waiting, sending, stored, delivered, dead
    tries: Mapped[int]
    created_at: Mapped[float]
    next_try_at: Mapped[float]
    give_up_at: Mapped[float]
    lease_until: Mapped[float | None]
    ended_at: Mapped[float | None]
    fault: Mapped[str | None] = mapped_column(String(100))  # of the last try: a code, never what a peer wrote
