"""One input from files to answer in this process: what `med3d analyse` does, with the worker's own steps."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from med3d_contract.ages import AgeReading, agreed_age, read_age, settle_age, stated_age
from med3d_contract.explanations import Explanation
from med3d_contract.pictures import BrainPictures
from med3d_contract.results import (
    Failure,
    Frozen,
    Provenance,
    Quality,
    Refusal,
    Result,
    RunStatus,
    SeriesReport,
    Sex,
)
from med3d_contract.scan_dates import DatesBeside
from med3d_contract.scanner_facts import NOTHING_SAID, ScannerFacts, first_told, sidecar_facts, sidecar_path
from med3d_contract.sent_files.archives import ArchiveRefused
from med3d_contract.sent_files.unpacking import InputNotReadable, unpacked
from med3d_contract.spreadsheets import printable
from med3d_contract.work import Subject
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.reading.volume_files.nifti import digest_file
from med3d_pipeline.reasons import AFTER_CONTRAST_AGENT
from med3d_pipeline.study.study import Acquisition, PatientAttributes
from med3d_worker.faults import failure_of
from med3d_worker.heads.head_prediction import HeadPrediction, HeadToPredict
from med3d_worker.heads.pictures import PicturesInHand
from med3d_worker.heads.review_reasons import in_contract_terms
from med3d_worker.model.loaded_model import LoadedModel
from med3d_worker.preparing.preparation import PreparedStudy, StudyPreparation, StudyRefused
from med3d_worker.stage_clock import StageClock


class AnalysedInput(Frozen):
    """The answer to one input, in the words of GET /runs/{id}; ``input`` is the path as given, see ``printable``."""

    input: str
    status: RunStatus
    refusal: Refusal | None = None
    failure: Failure | None = None
    series: SeriesReport | None = None
    quality: Quality | None = None
    provenance: Provenance | None = None
    result: Result | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Stated:
    """What is told beside the files: age at the scan in years, the site as the model's training manifest spelt it.

    sex: in place of what the headers tell, as the service takes it. told_sex: where the headers tell none.
    series: the one to analyse, by its number, Series Instance UID or label, or by the name of its NIfTI file.
    age: in place of age_years, as read from a table, with where it is from or why there is none. acquisition: what
    stands beside a NIfTI file of device and parameters, where its headers tell nothing.
    """

    age_years: float | None = None
    site: str | None = None
    series: str | None = None
    age: AgeReading | None = None
    sex: Sex | None = None
    told_sex: Sex | None = None
    acquisition: Acquisition | None = None


NOTHING_STATED = Stated()


@dataclass(frozen=True, eq=False)
class Analysis:
    """The report, the images behind it where preprocessing came to an end, and pictures where they were asked for."""

    report: AnalysedInput
    prepared: PreparedStudy | None
    pictures: BrainPictures | None = None


class Analyser:
    """Analyses inputs one by one; a refused or broken one is reported like the others.

    pictures: where those of each head go, None where nobody wants them; slices: so many in each plane.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        allow_demonstration_heads: bool,
        pictures: PicturesInHand | None = None,
        slices: int = 1,
    ) -> None:
        self.model = model.reference
        self.sites = tuple(site.calibrated_for for site in model.calibrations)
        """The sites that the model is calibrated for here."""
        self.calibrations = tuple(site.calibration_digest or "" for site in model.calibrations)
        """Their digests, in the same order."""
        self.cohort = model.cohort
        """Those whom the model was calibrated on, held out: ages and estimates."""
        self._preprocessor = model.preprocessor
        self.explainer = model.explainer
        """None where the bundle cannot explain."""
        self._pictures = pictures
        self._prepare = StudyPreparation(model, pictures=pictures, slices=slices)
        self._predict = HeadPrediction(model.predictor, allow_demonstration_heads)

    @property
    def template(self) -> Template:
        """What every head is aligned to."""
        return self._preprocessor.template

    def __call__(
        self, path: Path, stated: Stated = NOTHING_STATED, *, on_stage: Callable[[str], None] = lambda _: None
    ) -> Analysis:
        """Analyse ``path``: a file, an archive, or a folder with its sub-folders, as one study. Reports every fault."""
        clock = StageClock()
        prepared = None
        if self._pictures is not None:
            self._pictures.latest = None
        try:
            with unpacked(path) as paths:
                prepared = self._prepare(paths, chosen=stated.series, clock=clock, on_stage=on_stage)
                if stated.acquisition is not None:
                    prepared = _with_told(prepared, stated.acquisition)
                elif self.sites:
                    prepared = _with_scanner(prepared, paths)
            on_stage("predicting")
            report = self._report(printable(path), prepared, stated, clock)
        except InputNotReadable as error:
            failure = Failure(code="input_not_readable", reason=str(error), retryable=True)
            report = AnalysedInput(input=printable(path), status=RunStatus.FAILED, failure=failure)
        except ArchiveRefused as refused:
            refusal = Refusal(code=refused.code, reason=f"{refused.detail} {refused.remedy}")
            report = AnalysedInput(input=printable(path), status=RunStatus.REFUSED, refusal=refusal)
        except StudyRefused as refused:
            report = AnalysedInput(
                input=printable(path),
                status=RunStatus.REFUSED,
                refusal=refused.refusal,
                series=refused.findings.series,
                quality=refused.findings.quality,
                provenance=refused.findings.provenance,
            )
        except Exception as error:  # noqa: BLE001 - the edge: the next input must not suffer
            report = AnalysedInput(input=printable(path), status=RunStatus.FAILED, failure=failure_of(error))
        return Analysis(report, prepared, self._pictures.latest if self._pictures else None)

    def _report(self, name: str, prepared: PreparedStudy, stated: Stated, clock: StageClock) -> AnalysedInput:
        found = age_at_scan(prepared.patients, stated.age or stated_age(stated.age_years))
        sex = sex_of(prepared.patients, stated)
        subject = Subject(age=found.age, age_doubt=found.doubt, sex=sex, scan_site=stated.site)
        head = HeadToPredict(prepared.record, subject, prepared.acquisition, prepared.review_reasons)
        with clock.measure("predicting"):
            answer = self._predict([head])[0]
        completed = isinstance(answer, Result)
        return AnalysedInput(
            input=name,
            status=RunStatus.COMPLETED if completed else RunStatus.REFUSED,
            refusal=None if isinstance(answer, Result) else answer,
            result=answer if isinstance(answer, Result) else None,
            series=prepared.findings.series,
            quality=prepared.findings.quality,
            provenance=prepared.findings.provenance.model_copy(update={"timings_s": clock.timings_s}),
        )


def _with_told(prepared: PreparedStudy, told: Acquisition) -> PreparedStudy:
    """Return it with what was told beside the files, where its headers tell nothing; contrast agent is for review."""
    seen = prepared.acquisition
    silent = {one.name: getattr(told, one.name) for one in fields(seen) if getattr(seen, one.name) is None}
    agent = bool(silent.get("contrast_agent"))
    reasons = (*prepared.review_reasons, *(in_contract_terms([AFTER_CONTRAST_AGENT]) if agent else ()))
    return replace(prepared, acquisition=replace(seen, **silent), review_reasons=reasons)


def _with_scanner(prepared: PreparedStudy, paths: Sequence[Path]) -> PreparedStudy:
    """Return it with what the sidecar of the NIfTI that was taken says of the scanner, where its headers do not.

    A calibration is for one scanner, and a NIfTI alone cannot contradict it.
    """
    if prepared.findings.source is not None:
        return prepared
    told = first_told(prepared.acquisition, _beside_taken(prepared.findings.provenance.input_digest, paths))
    scanner = replace(
        prepared.acquisition,
        manufacturer=told.manufacturer,
        model=told.model,
        field_strength_t=told.field_strength_t,
    )
    return replace(prepared, acquisition=scanner)


def _beside_taken(digest: str | None, paths: Sequence[Path]) -> ScannerFacts:
    """Read the sidecar of the file with ``digest``: labels of series name no file."""
    for image in _nifti_files(paths):
        facts = sidecar_facts(image)
        if facts == NOTHING_SAID:
            facts = _of_same_name(image, paths)
        if facts != NOTHING_SAID and digest_file(image) == digest:
            return facts
    return NOTHING_SAID


def _of_same_name(image: Path, paths: Sequence[Path]) -> ScannerFacts:
    """Read the only sidecar of the study with the image's name: files of an archive lie each in its own folder."""
    name = sidecar_path(image).name
    found = [one for path in paths if path.is_dir() for one in path.rglob("*.json") if one.name == name]
    return sidecar_facts(found[0].with_name(image.name)) if len(found) == 1 else NOTHING_SAID


def _nifti_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        for found in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if found.name.lower().endswith((".nii", ".nii.gz")) and found.is_file():
                yield found


def age_at_scan(patients: Collection[PatientAttributes], stated: AgeReading | None) -> AgeReading:
    """Read the age as stated, else from the headers, of which none may contradict another."""
    told = agreed_age(
        read_age(
            birth_date=patient.birth_date,
            study_date=patient.study_date,
            patient_age=patient.patient_age,
            beside=DatesBeside(patient.acquisition_date or "", patient.series_date or "", patient.content_date or ""),
        )
        for patient in patients
    )
    return settle_age(stated, told)


def sex_of(patients: Collection[PatientAttributes], stated: Stated) -> Sex | None:
    """Read the sex as stated, else from the headers where they agree on one, else as a table beside them tells it."""
    found = {(patient.sex or "").upper() for patient in patients} & set(Sex)
    return stated.sex or (Sex(found.pop()) if len(found) == 1 else stated.told_sex)
