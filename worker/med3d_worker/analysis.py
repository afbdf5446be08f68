"""One input from files to answer in this process: what `med3d analyse` does, with the worker's own steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from med3d_contract.ages import AgeReading, read_age
from med3d_contract.archives import ArchiveRefused
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
from med3d_contract.work import Subject
from med3d_pipeline.study.study import PatientAttributes
from med3d_worker.faults import failure_of
from med3d_worker.head_prediction import HeadPrediction, HeadToPredict
from med3d_worker.loaded_model import LoadedModel
from med3d_worker.preparation import PreparedStudy, StudyPreparation, StudyRefused
from med3d_worker.stage_clock import StageClock
from med3d_worker.unpacking import unpacked


class AnalysedInput(Frozen):
    """The answer to one input, in the words of GET /runs/{id}; ``input`` is the path as given."""

    input: str
    status: RunStatus
    refusal: Refusal | None = None
    failure: Failure | None = None
    series: SeriesReport | None = None
    quality: Quality | None = None
    provenance: Provenance | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Stated:
    """What is told beside the files: age at the scan in years, the site as the model's training manifest spelt it.

    series: the one to analyse, by its number, Series Instance UID or label, or by the name of its NIfTI file.
    """

    age_years: float | None = None
    site: str | None = None
    series: str | None = None


NOTHING_STATED = Stated()


@dataclass(frozen=True, eq=False)
class Analysis:
    """The report, and the images behind it where preprocessing came to an end."""

    report: AnalysedInput
    prepared: PreparedStudy | None


class Analyser:
    """Analyses inputs one by one; a refused or broken one is reported like the others."""

    def __init__(self, model: LoadedModel, *, allow_demonstration_heads: bool) -> None:
        self.sites = tuple(site.calibrated_for for site in model.calibrations)
        """The sites that the model is calibrated for here."""
        self._prepare = StudyPreparation(model)
        self._predict = HeadPrediction(model.predictor, allow_demonstration_heads)

    def __call__(
        self, path: Path, stated: Stated = NOTHING_STATED, *, on_stage: Callable[[str], None] = lambda _: None
    ) -> Analysis:
        """Analyse ``path``: a file, an archive, or a folder with its sub-folders, as one study. Reports every fault."""
        clock = StageClock()
        prepared = None
        try:
            with unpacked(path) as paths:
                prepared = self._prepare(paths, chosen=stated.series, clock=clock, on_stage=on_stage)
            on_stage("predicting")
            report = self._report(str(path), prepared, stated, clock)
        except ArchiveRefused as refused:
            refusal = Refusal(code=refused.code, reason=f"{refused.detail} {refused.remedy}")
            report = AnalysedInput(input=str(path), status=RunStatus.REFUSED, refusal=refusal)
        except StudyRefused as refused:
            report = AnalysedInput(
                input=str(path),
                status=RunStatus.REFUSED,
                refusal=refused.refusal,
                series=refused.series,
                quality=refused.quality,
                provenance=refused.provenance,
            )
        except Exception as error:  # noqa: BLE001 - the edge: the next input must not suffer
            report = AnalysedInput(input=str(path), status=RunStatus.FAILED, failure=failure_of(error))
        return Analysis(report, prepared)

    def _report(self, name: str, prepared: PreparedStudy, stated: Stated, clock: StageClock) -> AnalysedInput:
        found = age_at_scan(prepared.patient, stated.age_years)
        subject = Subject(age=found.age, age_doubt=found.doubt, sex=_sex(prepared.patient), scan_site=stated.site)
        head = HeadToPredict(prepared.record, subject, prepared.acquisition, prepared.review_reasons)
        with clock.measure("predicting"):
            answer = self._predict([head])[0]
        completed = isinstance(answer, Result)
        return AnalysedInput(
            input=name,
            status=RunStatus.COMPLETED if completed else RunStatus.REFUSED,
            refusal=None if isinstance(answer, Result) else answer,
            result=answer if isinstance(answer, Result) else None,
            series=prepared.series,
            quality=prepared.quality,
            provenance=prepared.provenance.model_copy(update={"timings_s": clock.timings_s}),
        )


def age_at_scan(patient: PatientAttributes, stated_years: float | None) -> AgeReading:
    """Read the age as stated, else from the headers."""
    return read_age(
        stated_years=stated_years,
        birth_date=patient.birth_date,
        study_date=patient.study_date,
        patient_age=patient.patient_age,
    )


def _sex(patient: PatientAttributes) -> Sex | None:
    return Sex(patient.sex) if patient.sex in set(Sex) else None
