"""Many inputs to answers, by this process or by several: each with what is to be written of it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from med3d_cli.studies.inputs import fingerprint
from med3d_cli.studies.opened_model import Model
from med3d_cli.studies.process_pool import in_processes
from med3d_contract.ages import AgeReading, storable_age
from med3d_contract.results import Failure, RunStatus, Sex
from med3d_contract.spreadsheets import printable

if TYPE_CHECKING:
    from med3d_worker.analysis import AnalysedInput, Analyser, Analysis

PROCESS_DIED = Failure(
    code="process_died",
    reason="The process of this input was ended, mostly for want of memory. Run again with fewer --jobs.",
    retryable=True,
)
_opened: list["Analyser"] = []  # in a child process: the model, which is opened once


@dataclass(frozen=True)
class Question:
    """One input and what is told beside it. number: its place, from 1. basis: digest of what its answer rests on."""

    number: int
    path: Path
    age: AgeReading | None
    age_years: float | None
    site: str | None
    series: str | None
    sex: Sex | None = None
    basis: str = ""

    def on_basis_of(self, analyser: "Analyser") -> str:
        """Digest the files, what is told, the model with its calibrations, and the program."""
        told = [None if self.age is None else storable_age(self.age), self.age_years, self.site, self.series, self.sex]
        made_by = [analyser.model.digest, list(analyser.calibrations), version("infovae-med3d")]
        said = json.dumps([str(self.path), fingerprint(self.path), told, made_by])
        return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True)
class Wanted:
    """What is written of each head beside its answer: numbered folders for images and explanations, and pages."""

    keep: Path | None = None
    explain: Path | None = None
    pages: Path | None = None


@dataclass(frozen=True)
class Answered:
    """An input with its answer."""

    question: Question
    report: "AnalysedInput"


OnStage = Callable[[str], None]


def answer_all(
    analyser: "Analyser", model: Model, questions: Sequence[Question], wanted: Wanted, jobs: int, on_stage: OnStage
) -> Iterator[Answered]:
    """Answer every input, as each comes to its end. ``analyser`` is the model as this process has opened it."""
    if jobs == 1:
        for question in questions:
            yield _answer(analyser, wanted, question, on_stage)
        return
    begin = (_open_in_child, (model, jobs))
    yield from in_processes(partial(_answer_in_child, wanted), questions, jobs, _died, begin)


def _open_in_child(model: Model, processes: int) -> None:
    _opened.append(model.open(processes))


def _answer_in_child(wanted: Wanted, question: Question) -> Answered:
    return _answer(_opened[0], wanted, question, lambda _: None)


def _died(question: Question) -> Answered:
    from med3d_worker.analysis import AnalysedInput

    return Answered(
        question, AnalysedInput(input=printable(question.path), status=RunStatus.FAILED, failure=PROCESS_DIED)
    )


def _answer(analyser: "Analyser", wanted: Wanted, question: Question, on_stage: OnStage) -> Answered:
    from med3d_worker.analysis import Stated

    stated = Stated(question.age_years, question.site, question.series, question.age, question.sex)
    analysis = analyser(question.path, stated, on_stage=on_stage)
    report = analysis.report
    if wanted.explain:
        on_stage("explaining")
        report = _explained(analyser, analysis, wanted.explain / f"{question.number:04d}")
    if wanted.keep and analysis.prepared:
        from med3d_cli.studies.kept_images import keep_images

        keep_images(analysis.prepared, wanted.keep / f"{question.number:04d}")
    if wanted.pages:
        from med3d_cli.studies.html_report import keep_pages

        keep_pages(wanted.pages, question, analysis, analyser)
    return Answered(question, report)


def _explained(analyser: "Analyser", analysis: "Analysis", folder: Path) -> "AnalysedInput":
    """Return the report with its explanation, whose files are written; as it is where there is no number to explain."""
    from med3d_cli.studies.kept_explanation import keep_difference, keep_explanation
    from med3d_worker.heads.head_explanation import stored_explanation

    report, prepared = analysis.report, analysis.prepared
    if report.result is None or prepared is None or prepared.images is None or analyser.explainer is None:
        return report
    known = report.result.brain_age.chronological_age
    found = analyser.explainer.explain(prepared.record.tensor, None if known is None else known.years)
    stored = stored_explanation(found)
    keep_explanation(stored, folder)
    keep_difference(found.difference, prepared.images, folder)
    return report.model_copy(update={"explanation": stored.explanation})
