"""The tables of studies that arrive instance by instance, until they are stable. Times as in storage.tables."""

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from med3d_service.storage.tables import DIGEST, ID, STATUS, Base


class ArrivalRow(Base):
    """A study as a sender knows it: one row per StudyInstanceUID (blind index) and site.

    Each time that it becomes stable after something new came, it is settled: a version of it becomes a ``studies`` row.
    """

    __tablename__ = "arrivals"
    __table_args__ = (
        UniqueConstraint("site", "study_index"),
        Index("ix_arrivals_status_last", "status", "last_at"),
        Index("ix_arrivals_last", "last_at", "id"),
        Index("ix_arrivals_site_last", "site", "last_at", "id"),
        Index("ix_arrivals_patient", "site", "patient_index"),
    )
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    site: Mapped[str] = mapped_column(String(64))
    study_index: Mapped[str] = mapped_column(DIGEST)
    patient_index: Mapped[str | None] = mapped_column(DIGEST)
    status: Mapped[str] = mapped_column(STATUS)  # ArrivalStatus
    source: Mapped[str] = mapped_column(STATUS)  # of the first instance
    sender: Mapped[str] = mapped_column(String(100))  # of the first instance: AE title or key, and address
    called: Mapped[str] = mapped_column(String(16), server_default="")  # of it: our AE title; empty but for DIMSE
    first_at: Mapped[float]
    last_at: Mapped[float]  # of the last new instance
    instances: Mapped[int]
    expected: Mapped[int | None]  # instances that the PACS holds
    whole_at: Mapped[float | None]  # somebody said that it is whole
    final_at: Mapped[float | None]  # somebody said that nothing else will come, a usable T1 neither
    wait_until: Mapped[float | None]  # how long it may wait for a usable T1
    fault: Mapped[str | None] = mapped_column(String(64))  # inconsistent_study, several_patients
    repair_from: Mapped[float | None]  # at fault: what comes after this may be the study corrected
    corrected_at: Mapped[float | None]  # its patient was corrected, and it was not settled since: nothing goes out
    study_id: Mapped[str | None] = mapped_column(ForeignKey("studies.id"), index=True)  # the version that has the run
    late_study_id: Mapped[str | None] = mapped_column(ForeignKey("studies.id"))  # a later one, while it has none
    run_id: Mapped[str | None] = mapped_column(ID)
    input_removed_at: Mapped[float | None]  # by retention: what had arrived by then is gone, and only known again


class ArrivedInstanceRow(Base):
    """One instance of an arriving study: a sealed object of its own in the store. Kept for ever: it tells resends."""

    __tablename__ = "arrived_instances"
    __table_args__ = (Index("ix_arrived_instances_sop", "arrival_id", "sop_index"),)
    arrival_id: Mapped[str] = mapped_column(ForeignKey("arrivals.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sop_index: Mapped[str] = mapped_column(DIGEST)
    patient_index: Mapped[str | None] = mapped_column(DIGEST)
    upload_id: Mapped[str] = mapped_column(ID, unique=True)
    stored_sha256: Mapped[str] = mapped_column(DIGEST)
    stored_bytes: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    rule: Mapped[str | None] = mapped_column(String(64))  # of the routing rule that wants it; None: not an input
    priority: Mapped[int | None]
    bundle: Mapped[str | None] = mapped_column(String(300))
    arrived_at: Mapped[float]
    seen_at: Mapped[float | None]  # sent once more, while its study was at fault
    identity_index: Mapped[str | None] = mapped_column(DIGEST)  # of the patient's attributes as the instance has them


class RetiredIdentityRow(Base):
    """Who the patient of an arriving study is not any more: what comes under that identity again comes late."""

    __tablename__ = "retired_identities"
    arrival_id: Mapped[str] = mapped_column(ForeignKey("arrivals.id"), primary_key=True)
    identity_index: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    retired_at: Mapped[float]
    corrected_by: Mapped[str] = mapped_column(String(100))  # AE title or peer; it alone may take its correction back


class PatientUpdateRow(Base):
    """What a message said of the patient of a study, or of one that arrives; images that are read later do not know.

    told: sealed. patient_index, becomes_index: of the PatientID that was meant, and of the one that it became.
    site: of a merge that is kept for images that come later; it is then of no study.
    """

    __tablename__ = "patient_updates"
    __table_args__ = (Index("ix_patient_updates_merges", "site", "patient_index"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    study_id: Mapped[str | None] = mapped_column(ForeignKey("studies.id"), index=True)
    arrival_id: Mapped[str | None] = mapped_column(ForeignKey("arrivals.id"), index=True)
    patient_index: Mapped[str] = mapped_column(DIGEST)
    becomes_index: Mapped[str] = mapped_column(DIGEST)
    told: Mapped[bytes] = mapped_column(LargeBinary)
    told_at: Mapped[float]
    site: Mapped[str | None] = mapped_column(String(64))


class AppraisalRow(Base):
    """Which series of a study can be analysed: asked of a worker where late instances came after a run."""

    __tablename__ = "appraisals"
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    sent_at: Mapped[float | None]
    tries: Mapped[int]
    eligible: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))  # fingerprints of series
