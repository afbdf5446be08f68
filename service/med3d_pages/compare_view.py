"""Two runs side by side: what each says of the same things, and what makes them hard to compare."""

from collections.abc import Iterator
from dataclasses import dataclass

from med3d_pages.bars import AgeBar, age_bar
from med3d_pages.result_view import measures
from med3d_pages.texts import Catalogue
from med3d_service.results.cases import Case


@dataclass(frozen=True)
class Compared:
    """One thing of both runs, in words; empty where a run has none."""

    name: str
    one: str
    other: str

    @property
    def differs(self) -> bool:
        """Whether the two say something else."""
        return self.one != self.other


@dataclass(frozen=True)
class Comparison:
    """What two runs say. ``cautions``: keys of why their numbers are not simply held against each other."""

    difference: str | None
    bars: tuple[AgeBar | None, AgeBar | None]
    cautions: tuple[str, ...]
    facts: tuple[Compared, ...]
    quality: tuple[Compared, ...]


def compared(one: Case, other: Case, t: Catalogue) -> Comparison:
    """Hold the second run against the first."""
    first, second = (case.listed.run.result for case in (one, other))
    both = None if first is None or second is None else second.brain_age.estimate - first.brain_age.estimate
    bars = tuple(None if result is None else age_bar(result.brain_age, t) for result in (first, second))
    return Comparison(
        difference=None if both is None else t.numbers.signed(both),
        bars=(bars[0], bars[1]),
        cautions=tuple(_cautions(one, other)),
        facts=tuple(Compared(t(key), *_both(left, right)) for key, left, right in _facts(one, other, t)),
        quality=tuple(_quality(one, other, t)),
    )


def _cautions(one: Case, other: Case) -> Iterator[str]:
    first, second = one.listed.run, other.listed.run
    have_numbers = first.result is not None and second.result is not None
    is_same_person = one.subject_id is not None and one.subject_id == other.subject_id
    if first.study_id != second.study_id and not is_same_person:
        yield "compare.other_person"
    if not have_numbers:
        yield "compare.no_number"
    if have_numbers and first.study_id != second.study_id and is_same_person:
        yield "compare.other_scan"
    if have_numbers and first.bundle.digest != second.bundle.digest:
        yield "compare.other_model"
    if have_numbers and (first.series and first.series.chosen) != (second.series and second.series.chosen):
        yield "compare.other_series"
    if one.listed.superseded_by or other.listed.superseded_by:
        yield "compare.replaced"


def _facts(one: Case, other: Case, t: Catalogue) -> Iterator[tuple[str, str | None, str | None]]:
    for key, said in (
        ("worklist.decision", _decision),
        ("result.age", _age),
        ("result.gap", _gap),
        ("result.corrected", _corrected),
        ("compare.distance", _distance),
        ("compare.verdict", _verdict),
        ("provenance.model", _model),
        ("compare.series", _series),
        ("compare.reasons", _reasons),
        ("provenance.software", _software),
    ):
        yield key, said(one, t), said(other, t)


def _both(left: str | None, right: str | None) -> tuple[str, str]:
    return left or "", right or ""


def _decision(case: Case, t: Catalogue) -> str:
    return t(f"state.{case.listed.shown}")


def _age(case: Case, t: Catalogue) -> str | None:
    return None if case.listed.subject.age is None else t.numbers.years(case.listed.subject.age.years)


def _gap(case: Case, t: Catalogue) -> str | None:
    result = case.listed.run.result
    return None if result is None or result.brain_age.gap is None else t.numbers.signed(result.brain_age.gap.estimate)


def _corrected(case: Case, t: Catalogue) -> str | None:
    result = case.listed.run.result
    found = None if result is None else result.brain_age.gap_corrected
    return None if found is None else t.numbers.signed(found.estimate)


def _distance(case: Case, t: Catalogue) -> str | None:
    result = case.listed.run.result
    return None if result is None else t.numbers.plain(result.assessment.out_of_distribution.percentile)


def _verdict(case: Case, t: Catalogue) -> str | None:
    verdict = case.listed.run.verdict
    return None if verdict is None else t(f"verdict.said.{verdict.verdict}")


def _model(case: Case, _t: Catalogue) -> str:
    return f"{case.listed.run.bundle.name} {case.listed.run.bundle.version}"


def _series(case: Case, _t: Catalogue) -> str | None:
    series = case.listed.run.series
    return None if series is None else series.chosen


def _reasons(case: Case, _t: Catalogue) -> str:
    run = case.listed.run
    if run.result is not None:
        return ", ".join(reason.code for reason in run.result.assessment.reasons)
    fault = run.refusal or run.failure
    return "" if fault is None else fault.code


def _software(case: Case, _t: Catalogue) -> str:
    provenance = case.listed.run.provenance
    return "" if provenance is None else ", ".join(f"{name} {text}" for name, text in provenance.software.items())


def _quality(one: Case, other: Case, t: Catalogue) -> Iterator[Compared]:
    left, right = (
        {} if case.listed.run.quality is None else {row.name: row.value for row in measures(case.listed.run.quality, t)}
        for case in (one, other)
    )
    for name in left | right:
        yield Compared(name, left.get(name, ""), right.get(name, ""))
