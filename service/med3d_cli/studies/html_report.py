"""What `med3d analyse --html` leaves in its folder: a page for each input, one for all, and the answers behind them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed
from med3d_cli.reports.group_page import GroupReport, GroupScan, group_page
from med3d_cli.reports.head_report import mosaics_of
from med3d_cli.reports.methods import Made, citation, methods_paragraphs
from med3d_cli.reports.mosaics import as_address, side_by_side
from med3d_cli.reports.scan_page import ScanReport, scan_page
from med3d_cli.studies.inputs import short_name
from med3d_contract.results import BundleRef, Frozen, RunStatus
from med3d_contract.spreadsheets import printable
from med3d_worker.analysis import AnalysedInput

if TYPE_CHECKING:
    from med3d_cli.studies.analysis_batch import Question
    from med3d_worker.analysis import Analyser, Analysis

INDEX = "index.html"
ANSWERS = "answers"
FINAL = frozenset({RunStatus.COMPLETED, RunStatus.REFUSED})
THUMBNAIL_PX = 420


class KeptAnswer(Frozen):
    """An answer with its page and a small picture. basis: see Question."""

    basis: str
    name: str
    page: str
    picture: str | None
    bundle: BundleRef
    report: AnalysedInput


def keep_pages(folder: Path, question: "Question", analysis: "Analysis", analyser: "Analyser") -> None:
    """Write the page of one input, and the answer last. Raises CommandError where it cannot be written."""
    name = printable(Path(short_name(question.path)))
    stem = f"{_plain(name)}-{question.basis[:8]}"
    page = scan_page(
        ScanReport(
            name,
            analysis.report,
            analyser.model,
            analyser.cohort,
            mosaics_of(analysis, analyser.template),
            [("input", printable(question.path))],
            back=INDEX,
        )
    )
    kept = KeptAnswer(
        basis=question.basis,
        name=name,
        page=f"{stem}.html",
        picture=_picture(analysis),
        bundle=analyser.model,
        report=analysis.report,
    )
    _write(folder / kept.page, page)
    _write(folder / ANSWERS / f"{stem}.json", kept.model_dump_json(indent=1))


def kept_answers(folder: Path) -> dict[str, KeptAnswer]:
    """Read the answers in ``folder`` that stand, by basis: those with a number or a refusal, and their page."""
    found = {}
    for path in sorted((folder / ANSWERS).glob("*.json")):
        try:
            kept = KeptAnswer.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        if kept.report.status in FINAL and (folder / kept.page).is_file():
            found[kept.basis] = kept
    return found


def write_index(folder: Path, questions: Sequence["Question"], reports: dict[str, AnalysedInput]) -> None:
    """Write the page of all inputs of a call, in which ``reports`` are new, by basis."""
    kept = kept_answers(folder)
    shown = [kept.get(question.basis) for question in questions]
    made = [Made(one.report, one.bundle) for one in shown if one]
    scans = [
        _failed(question, reports.get(question.basis)) if one is None else _as_scan(one)
        for question, one in zip(questions, shown, strict=True)
    ]
    report = GroupReport(
        title="Brain age", scans=scans, methods=methods_paragraphs(made), citation=citation(made), variables=()
    )
    _write(folder / INDEX, group_page(report))


def _as_scan(kept: KeptAnswer) -> GroupScan:
    problem = kept.report.refusal
    return GroupScan(
        name=kept.name,
        person=kept.name,
        status=kept.report.status.value,
        result=kept.report.result,
        code=problem.code if problem else None,
        reason=problem.reason if problem else None,
        page=kept.page,
        picture=kept.picture,
    )


def _failed(question: "Question", report: AnalysedInput | None) -> GroupScan:
    problem = report.failure if report else None
    name = printable(Path(short_name(question.path)))
    code, reason = (problem.code, problem.reason) if problem else (None, None)
    return GroupScan(name=name, person=name, status=RunStatus.FAILED.value, code=code, reason=reason)


def _picture(analysis: "Analysis") -> str | None:
    if analysis.pictures is None:
        return None
    small = side_by_side(analysis.pictures)
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return as_address(small)


def _plain(name: str) -> str:
    """Keep of a name what every file system and address takes."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in name)[:80]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with placed(path) as aside:
            aside.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from error
