"""A case: how its input is made, which answers are right, and why."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from med3d_contract.results import RunView
from med3d_worker.analysis import AnalysedInput

REFUSED, COMPLETED, FAILED = "refused", "completed", "failed"


@dataclass(frozen=True)
class Answer:
    """What the product said of one input, as far as cases ask.

    reviews: codes of the reasons for review. known_age_years: the age at the scan that it found in the headers.
    """

    status: str
    code: str | None = None
    sentence: str = ""
    age_years: float | None = None
    known_age_years: float | None = None
    reviews: frozenset[str] = frozenset()
    series: str | None = None

    def __str__(self) -> str:
        """Short, for a table."""
        if self.status != COMPLETED:
            return f"{self.status} {self.code}"
        known = "" if self.known_age_years is None else f", known {self.known_age_years:.1f}"
        return f"{self.age_years:.2f} y{known}" + (f" ({', '.join(sorted(self.reviews))})" if self.reviews else "")


def answer_of(report: AnalysedInput | RunView) -> Answer:
    """Cut an analysis, or a run of the service, down to what cases ask."""
    series = report.series.chosen if report.series else None
    if report.result is None:
        problem = report.refusal or report.failure
        assert problem is not None
        return Answer(report.status.value, problem.code, problem.reason, series=series)
    age = report.result.brain_age
    return Answer(
        COMPLETED,
        age_years=age.estimate,
        known_age_years=age.chronological_age.years if age.chronological_age else None,
        reviews=frozenset(reason.code for reason in report.result.assessment.reasons),
        series=series,
    )


@dataclass(frozen=True)
class Right:
    """One right answer. What is None or empty is not asked.

    codes: one of these. age_years: (lowest, highest). like: name of the case whose age it must have, within_years.
    reviews: reasons for review that must be there. series: how the chosen label begins.
    """

    status: str
    codes: frozenset[str] = frozenset()
    age_years: tuple[float, float] | None = None
    like: str | None = None
    within_years: float = 0.1
    known_age_years: float | None = None
    reviews: frozenset[str] = frozenset()
    review_wanted: bool = False
    series: str | None = None

    def __str__(self) -> str:
        """Short, for a table."""
        if self.status == REFUSED:
            return f"refused {'|'.join(sorted(self.codes))}".strip()
        words = []
        if self.like:
            words.append(f"{self.like} ±{self.within_years:g} y")
        if self.age_years:
            words.append(f"{self.age_years[0]:g} to {self.age_years[1]:g} y")
        if self.known_age_years is not None:
            words.append(f"known {self.known_age_years:g}")
        if self.reviews or self.review_wanted:
            words.append(f"review {'+'.join(sorted(self.reviews))}".strip())
        return ", ".join(words) or self.status

    def fits(self, answer: Answer, others: dict[str, Answer]) -> bool:
        """Say whether the answer is this one; ``others`` are the answers to all cases by name."""
        if answer.status != self.status:
            return False
        if self.status == REFUSED:
            return (not self.codes or answer.code in self.codes) and is_a_sentence(answer.sentence)
        return (
            self._age_fits(answer, others)
            and self._known_age_fits(answer)
            and answer.reviews >= self.reviews
            and bool(answer.reviews or not self.review_wanted)
            and (self.series is None or (answer.series or "").startswith(self.series))
        )

    def _age_fits(self, answer: Answer, others: dict[str, Answer]) -> bool:
        assert answer.age_years is not None
        if self.age_years and not self.age_years[0] <= answer.age_years <= self.age_years[1]:
            return False
        if self.like is None:
            return True
        like = others[self.like].age_years if self.like in others else None
        return like is not None and abs(answer.age_years - like) <= self.within_years

    def _known_age_fits(self, answer: Answer) -> bool:
        if self.known_age_years is None:
            return True
        return answer.known_age_years is not None and abs(answer.known_age_years - self.known_age_years) <= 0.51


def is_a_sentence(text: str) -> bool:
    """Say whether it can be read out to a radiographer: whole sentences, and no file name or path."""
    return (
        len(text.split()) >= 4
        and (text[0].isupper() or text[0].isdigit())
        and text.rstrip().endswith(".")
        and "/" not in text
    )


@dataclass(frozen=True)
class Room:
    """Where cases are made: sample data and scripts where they are there, and the head of the sample data as NIfTI."""

    data: Path | None
    scripts: Path | None
    head: Path | None


@dataclass(frozen=True)
class Case:
    """make(room, folder) writes the input and returns it. files: of several files in it each is an input of its own."""

    name: str
    make: Callable[[Room, Path], Path]
    right: tuple[Right, ...]
    why: str
    files: tuple[str, ...] = ()
    series: str | None = None


Answered = list[tuple[str, Answer, float]]
"""The inputs of a case by name, each with its answer and the seconds that it took."""


def answers_to(case: Case, room: Room, ask: Callable[[Path, str | None], Answer]) -> Answered:
    """Make the case's inputs, ask about each (its path, the series to take), and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="field-"))
    try:
        path = case.make(room, folder)
        inputs = [(f"{case.name}/{name}", path / name) for name in case.files] or [(case.name, path)]
        found = []
        for name, one in inputs:
            started = time.monotonic()
            answer = ask(one, case.series)
            found.append((name, answer, time.monotonic() - started))
    except Exception as error:  # noqa: BLE001 - the case could not be made: that is told like a wrong answer
        return [(case.name, Answer(FAILED, type(error).__name__, str(error)), 0.0)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def number(low: float, high: float, **more) -> Right:
    """A number between two ages."""
    return Right(COMPLETED, age_years=(low, high), **_frozen(more))


def same_as(like: str, within_years: float = 0.1, **more) -> Right:
    """The number of another case."""
    return Right(COMPLETED, like=like, within_years=within_years, **_frozen(more))


def refused(*codes: str) -> Right:
    """A refusal with one of the codes; with any where none is named."""
    return Right(REFUSED, codes=frozenset(codes))


def _frozen(more):
    return more | ({"reviews": frozenset(more["reviews"])} if "reviews" in more else {})
