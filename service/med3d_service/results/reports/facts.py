"""Everything that a report of one run may say, gathered in one place; each format only chooses and arranges."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.bundle_cards import BundleCard, bundle_card_key
from med3d_contract.explanations import StoredExplanation
from med3d_contract.pictures import BrainPictures, ReferenceCohort, reference_cohort_key
from med3d_contract.results import (
    BundleRef,
    Provenance,
    Quality,
    Reason,
    Refusal,
    Result,
    SeriesReport,
    VerdictView,
)
from med3d_contract.work import PreprocessedObject, SourceSeries
from med3d_service.results.reports.lineage import ANSWERED, answers_before, estimates_in, estimates_of, handed_on
from med3d_service.results.reports.segmented import SegmentedBrain, segmented_brain
from med3d_service.runs.verdicts import standing_verdicts
from med3d_service.runs.views import bundle_ref
from med3d_service.storage.identifiers import FORMER, IdentifierVault
from med3d_service.storage.tables import BundleRow, RunRow, StudyRow
from med3d_service.studies.working_copy.messages import PATIENTS, SERIES_DESCRIPTIONS, STUDY_ATTRIBUTES, NamedPatient
from med3d_store.object_store import ObjectStore, StoreError

log = structlog.get_logger()
_SERIES_NUMBER = re.compile(r"series (\d+)\b")


@dataclass(frozen=True)
class PatientIdentity:
    """The patient, as the original images have it; empty where they do not say. ``sex`` is F, M or empty."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str = ""


@dataclass(frozen=True)
class StudyIdentity:
    """The study that a report is filed in, as the original images have it; DICOM DA, TM, SH and PN as text.

    attributes: what else a PACS shows of a study (messages.STUDY_LEVEL), as far as all images agree.
    """

    study_uid: str = field(repr=False)
    study_date: str = field(repr=False)
    study_time: str = field(repr=False)
    study_id: str = field(repr=False)
    accession_number: str = field(repr=False)
    referring_physician: str = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class SourceImages:
    """The instances that the numbers come from, under their original UIDs."""

    series_uid: str = field(repr=False)
    sop_class_uid: str
    instance_uids: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class ReportFacts:
    """One answered run. ``result`` is without estimates of demonstration heads: those are never handed on.

    study: None where the images were no DICOM. predecessor: id of the answered run that this one supersedes.
    replaces_at: when that was answered. replaces_study_uid: the study that it was filed in.
    descriptions: the scanner's own, by series number.
    first_run_id: of the first answer in the chain that this one ends. replaced: the estimates that the predecessor had.
    verdict: of a person, the latest that decides. replaces_sr: run and name of the SR in whose place this goes.
    segmented: where the brain was found, on the images that were read. explanation: where it was asked for.
    patients: all whom the images name where they are several, else empty; the run is refused, and filed for nobody.
    """

    run_id: str
    study_id: str
    answered_at: datetime
    bundle: BundleRef
    result: Result | None
    refusal: Refusal | None
    series: SeriesReport | None
    quality: Quality | None
    provenance: Provenance | None
    patient: PatientIdentity
    study: StudyIdentity | None
    source: SourceImages | None
    predecessor: str | None
    patients: tuple[PatientIdentity, ...] = ()
    replaces_at: datetime | None = None
    replaces_study_uid: str = field(default="", repr=False)
    descriptions: Mapping[str, str] = field(default_factory=dict, repr=False)
    first_run_id: str = ""
    replaced: frozenset[str] = frozenset()
    verdict: VerdictView | None = field(default=None, repr=False)
    replaces_sr: tuple[str, str] | None = None
    pictures: BrainPictures | None = None
    cohort: ReferenceCohort | None = None
    segmented: SegmentedBrain | None = None
    explanation: StoredExplanation | None = None

    def described(self, label: str) -> str:
        """Return what the scanner calls the series of one of our labels; empty where it is not known for sure."""
        found = _SERIES_NUMBER.match(label)
        return "" if found is None else self.descriptions.get(found[1], "")

    @property
    def lineage(self) -> str:
        """What the answer and all those that it replaces, and that replace it, have in common."""
        return self.first_run_id or self.run_id

    @property
    def estimates(self) -> frozenset[str]:
        """Names of the numbers that there are."""
        return estimates_of(self.result)

    @property
    def decision(self) -> str:
        """``accepted``, ``review`` or ``refused``."""
        return "refused" if self.result is None else self.result.assessment.decision

    @property
    def calibrated_for(self) -> str | None:
        """The site whose healthy heads the numbers are held against; None: the training cohort."""
        return None if self.result is None else self.result.assessment.calibrated_for

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why a person should look, or why there is no number."""
        if self.result is not None:
            return self.result.assessment.reasons
        return () if self.refusal is None else (Reason(code=self.refusal.code, sentence=self.refusal.reason),)


class FactsReader:
    """Reads the facts of a run from the database, the encrypted table and the store."""

    def __init__(self, store: ObjectStore, vault: IdentifierVault) -> None:
        self._store = store
        self._vault = vault

    def read(self, session: Session, run_id: str) -> ReportFacts | None:
        """Return the facts of an answered run; None where there is no answer (yet)."""
        found = session.execute(
            select(RunRow, StudyRow, BundleRow)
            .join(StudyRow, StudyRow.id == RunRow.study_id)
            .join(BundleRow, BundleRow.digest == RunRow.bundle_digest)
            .where(RunRow.id == run_id)
        ).first()
        if found is None or found[0].status not in ANSWERED:
            return None
        run, study, bundle = found
        before = answers_before(session, run.id)
        older = before[0] if before else None
        everyone = patients_of(session, self._vault, study)
        assert run.finished_at is not None
        pictures = read_pictures(self._store, run)
        return ReportFacts(
            run_id=run.id,
            study_id=run.study_id,
            answered_at=_moment(run.finished_at),
            bundle=bundle_ref(bundle),
            result=handed_on(None if run.result is None else Result.model_validate(run.result)),
            refusal=None if run.refusal is None else Refusal.model_validate(run.refusal),
            series=None if run.series is None else SeriesReport.model_validate(run.series),
            quality=None if run.quality is None else Quality.model_validate(run.quality),
            provenance=None if run.provenance is None else Provenance.model_validate(run.provenance),
            patient=_patient(session, self._vault, study),
            patients=everyone if len(everyone) > 1 else (),
            study=self._study(session, study),
            source=self._source(session, run),
            predecessor=None if older is None else older.id,
            replaces_at=None if older is None or older.finished_at is None else _moment(older.finished_at),
            replaces_study_uid="" if older is None else self._filed_in(session, older.study_id),
            first_run_id=before[-1].id if before else run.id,
            replaced=frozenset() if older is None else estimates_in(older.result),
            verdict=standing_verdicts(session, self._vault, [run.id]).get(run.id),
            descriptions=json.loads(self._identifier(session, study.id, SERIES_DESCRIPTIONS) or "{}"),
            pictures=pictures,
            cohort=read_cohort(self._store, run.bundle_digest),
            segmented=None if pictures is None else segmented_brain(pictures.mask, self._originals(session, run)),
        )

    def _identifier(self, session: Session, study_id: str, kind: str) -> str:
        return self._vault.read(session, study_id, kind) or ""

    def _filed_in(self, session: Session, study_id: str) -> str:
        """Return the study that objects of an earlier run went to, also where its patient was corrected since."""
        return self._identifier(session, study_id, "study_uid") or self._identifier(
            session, study_id, f"{FORMER}study_uid"
        )

    def _study(self, session: Session, study: StudyRow) -> StudyIdentity | None:
        study_uid = self._identifier(session, study.id, "study_uid")
        if not study_uid:
            return None
        return StudyIdentity(
            study_uid=study_uid,
            study_date=self._identifier(session, study.id, "study_date"),
            study_time=self._identifier(session, study.id, "study_time"),
            study_id=self._identifier(session, study.id, "study_id"),
            accession_number=self._identifier(session, study.id, "accession_number"),
            referring_physician=self._identifier(session, study.id, "referring_physician"),
            attributes=json.loads(self._identifier(session, study.id, STUDY_ATTRIBUTES) or "{}"),
        )

    def _originals(self, session: Session, run: RunRow) -> Mapping[str, str]:
        """Return the images' own UIDs, by the stand-ins of the working copy."""
        found: Mapping[str, str] = json.loads(self._identifier(session, run.study_id, "uids") or "{}")
        return found

    def _source(self, session: Session, run: RunRow) -> SourceImages | None:
        """Translate the worker's stand-ins back; None where it read no DICOM, or not what the table knows."""
        originals = self._originals(session, run)
        if run.source is None:
            return None
        found = SourceSeries.model_validate(run.source)
        if found.series_uid not in originals or not set(found.instance_uids) <= originals.keys():
            log.warning("source_unknown", run_id=run.id)
            return None
        return SourceImages(
            series_uid=originals[found.series_uid],
            sop_class_uid=originals.get(found.sop_class_uid, found.sop_class_uid),
            instance_uids=tuple(originals[uid] for uid in found.instance_uids),
        )


def read_pictures(store: ObjectStore, run: RunRow) -> BrainPictures | None:
    """Read the slices through a run's brain; None where there are none (any more)."""
    if run.pictures is None:
        return None
    stored = PreprocessedObject.model_validate(run.pictures)
    try:
        return BrainPictures.model_validate_json(store.get(stored.key, stored.sha256))
    except (StoreError, ValidationError) as error:
        log.warning("pictures_unreadable", run_id=run.id, kind=type(error).__name__)
        return None


def read_cohort(store: ObjectStore, bundle_digest: str) -> ReferenceCohort | None:
    """Read the cohort that a bundle was calibrated on."""
    try:
        return ReferenceCohort.model_validate_json(store.get(reference_cohort_key(bundle_digest)))
    except (StoreError, ValidationError):
        return None  # an older worker's bundle: the page goes without


def read_card(store: ObjectStore, bundle_digest: str) -> BundleCard | None:
    """Read what a bundle says of itself, as a worker left it; None where an older worker carries it."""
    try:
        return BundleCard.model_validate_json(store.get(bundle_card_key(bundle_digest)))
    except (StoreError, ValidationError):
        return None


def patients_of(session: Session, vault: IdentifierVault, study: StudyRow) -> tuple[PatientIdentity, ...]:
    """Return the patient whom a study's images name.

    All of them where they are several, none where they name nobody.
    """
    several = vault.read(session, study.id, PATIENTS)
    if several is not None:
        named = [NamedPatient.model_validate(one) for one in json.loads(several)]
        return tuple(PatientIdentity(one.patient_id, "", one.name, one.birth_date) for one in named)
    one = _patient(session, vault, study)
    return (one,) if one.patient_id or one.name or one.birth_date else ()


def _patient(session: Session, vault: IdentifierVault, study: StudyRow) -> PatientIdentity:
    def identifier(kind: str) -> str:
        return vault.read(session, study.id, kind) or ""

    return PatientIdentity(
        patient_id=identifier("patient_id"),
        issuer=identifier("issuer_of_patient_id"),
        name=identifier("patient_name"),
        birth_date=identifier("birth_date"),
        sex=study.found_sex or "",
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
