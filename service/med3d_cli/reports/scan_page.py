"""The page of one scan: what came out, where it lies, what was seen, how good the image is, how it was made."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from med3d_cli.reports.mosaics import Mosaic
from med3d_cli.reports.strips import strip
from med3d_cli.reports.usual_quality import usual_quality
from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import BundleRef, Quality, Result
from med3d_pipeline.preprocessing.quality import MEASURE_WORDS
from med3d_service.cohorts.charts.svg import BLUE, GREY, RED, Chart, padded
from med3d_service.cohorts.kept_pages.sheets import Drawn, drawn, render_sheet
from med3d_worker.analysis import AnalysedInput

PACKAGE = "med3d_cli.reports"
Row = tuple[str, str]


@dataclass(frozen=True)
class ScanReport:
    """What a page shows. facts: of the image, as its sidecars tell. back: the group's page, from this one."""

    name: str
    answer: AnalysedInput
    bundle: BundleRef
    cohort: ReferenceCohort
    mosaics: Sequence[Mosaic] = ()
    facts: Sequence[Row] = ()
    back: str | None = None


def scan_page(report: ScanReport) -> str:
    """Render the page."""
    answer = report.answer
    problem = answer.refusal or answer.failure
    reasons = answer.result.assessment.reasons if answer.result else ()
    return render_sheet(
        "scan.html",
        package=PACKAGE,
        title=report.name,
        back=report.back,
        status=answer.status.value,
        decision=answer.result.assessment.decision if answer.result else None,
        headline=_headline(answer),
        problem=problem,
        reasons=[(one.code, one.sentence) for one in reasons],
        place=place_chart(answer.result, report.cohort) if answer.result else None,
        mosaics=report.mosaics,
        quality=quality_rows(answer.quality, report.bundle.digest) if answer.quality else [],
        usual=usual_quality(report.bundle.digest),
        facts=report.facts,
        candidates=answer.series.candidates if answer.series else (),
        chosen=answer.series.chosen if answer.series else None,
        provenance=provenance_rows(answer, report.bundle),
    )


def _headline(answer: AnalysedInput) -> list[Row]:
    if answer.result is None:
        return []
    age = answer.result.brain_age
    interval = age.interval
    rows = [
        ("brain age", f"{age.estimate:.1f} years"),
        (f"{100 * interval.level:.0f} % interval", f"{interval.lower:.1f} to {interval.upper:.1f}"),
    ]
    if known := age.chronological_age:
        rows.append(("age at the scan", f"{known.years:.1f} years" + (f" ({known.note})" if known.note else "")))
    for words, gap in (("gap", age.gap), ("gap, age bias removed", age.gap_corrected)):
        if gap is not None:
            rows.append((words, f"{gap.estimate:+.1f} years ({gap.interval.lower:+.1f} to {gap.interval.upper:+.1f})"))
    distance = answer.result.assessment.out_of_distribution
    rows.append(("stranger to the model than", f"{distance.percentile:.0f} % of the heads that it was calibrated on"))
    return rows


def place_chart(result: Result, cohort: ReferenceCohort) -> Drawn:
    """Draw the estimate among those of the model's calibration cohort, each by a model that had not seen the head."""
    age = result.brain_age
    known = age.chronological_age
    every = [
        *cohort.ages,
        *cohort.brain_ages,
        age.interval.lower,
        age.interval.upper,
        *([known.years] if known else []),
    ]
    span = padded(every)
    chart = Chart(span, span, "age at the scan (years)", "brain age (years)")
    chart.line([(span[0], span[0]), (span[1], span[1])], dashed=True)
    chart.points(list(zip(cohort.ages, cohort.brain_ages, strict=True)), GREY)
    colour = BLUE if result.assessment.decision == "accepted" else RED
    if known:
        chart.whisker(known.years, age.interval.lower, age.interval.upper, colour)
        chart.points([(known.years, age.estimate)] * 3, colour)
        chart.label((known.years, age.estimate), f"{age.estimate:.1f}", colour)
    else:
        chart.level(age.estimate, f"{age.estimate:.1f} years (age not known)", colour)
        for end in (age.interval.lower, age.interval.upper):
            chart.line([(span[0], end), (span[1], end)], colour, dashed=True)
    caption = (
        f"Grey: {len(cohort.ages)} people of {cohort.name}, each estimated by a model that had not seen the head. "
        f"{'Bar' if known else 'Dashed lines'}: {100 * age.interval.level:.0f} % prediction interval. "
        "Diagonal: brain age equals age."
    )
    return drawn(chart.svg("The estimate among those of the calibration cohort"), caption)


def quality_rows(quality: Quality, bundle_digest: str) -> list[tuple[str, str, Markup, bool]]:
    """Return each measure in words, its value, its strip, and whether it is outside the model's limits."""
    usual = usual_quality(bundle_digest)
    others = usual.measures if usual else {}
    rows = []
    for name, value in quality.measures.items():
        words, unit = MEASURE_WORDS.get(name, (name.replace("_", " "), ""))
        written = "not measured" if value is None else f"{value:.4g}{unit}"
        picture = strip(words, value, quality.limits.get(name, (None, None)), others.get(name))
        rows.append((words, written, picture, name in quality.failed))
    return rows


def provenance_rows(answer: AnalysedInput, bundle: BundleRef) -> list[Row]:
    """Return what made the answer, with whole digests: enough to make it again."""
    rows = [("model", f"{bundle.name} {bundle.version}"), ("SHA-256 of the model", bundle.digest)]
    made = answer.provenance
    if made is None:
        return rows
    digests = (("SHA-256 of the image", made.input_digest), ("preprocessing", made.preprocessing_digest))
    rows += [(words, digest) for words, digest in digests if digest]
    rows.append(("software", ", ".join(f"{name} {version}" for name, version in made.software.items())))
    rows.append(("computed by", ", ".join(made.providers)))
    rows.append(("seconds", ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in made.timings_s.items())))
    return rows
