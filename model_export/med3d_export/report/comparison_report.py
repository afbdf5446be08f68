"""The report of a comparison: the plan first, then the table of all objectives and baselines, then the paired tests."""

from pathlib import Path

from med3d_export.evaluation.comparison import ComparisonPlan, ComparisonReport, Pairing
from med3d_export.evaluation.protocol import LESS_ALIKE
from med3d_export.evaluation.scores import Row
from med3d_export.monitors import PosteriorMonitors
from med3d_export.report.figures import errors_of_all
from med3d_export.report.page import write_page
from med3d_export.report.tables import (
    corrected_table,
    image_table,
    monitor_table,
    paired_table,
    regression_table,
    table,
)

NOBODY_KNOWS = (
    "The paper (arXiv 2510.00051) reports an MAE lower by 0.684 years and an R2 higher by 0.027 than the other VAE "
    "variants, on 6527 heads, without loss weights, kernel, splits or SVR settings: what follows is our own choice of "
    "all of them, the closest public evidence, and no reproduction."
)

_OF_FOLDS = (
    "Held-out subjects of the folds of the first repeat that were fitted: mean (lowest to highest fold). Columns "
    "without a range are of the first fold alone, and not to be held against those of all."
)


def write_comparison(
    report: ComparisonReport, scopes: dict[str, str], monitors: dict[str, tuple[PosteriorMonitors, ...]], folder: Path
) -> Path:
    """Write report.md, report.html and a figure into ``folder``; returns the HTML's path."""
    rows = _rows(report)
    figure = errors_of_all(rows, "years", "errors", folder)
    parts = [
        "# Objectives compared",
        NOBODY_KNOWS,
        plan_text(report.plan),
        _table(report, rows, scopes),
        f"![Errors of all methods]({figure.name})",
        *(_pairing(report.plan.reference, name, pairing) for name, pairing in report.pairings.items()),
        f"## Health of the latents\n\n{_OF_FOLDS}\n\n{monitor_table(monitors)}",
        _search(report),
    ]
    return write_page("\n\n".join(parts) + "\n", folder)[1]


def plan_text(plan: ComparisonPlan) -> str:
    """Return what was fixed beforehand, as it is also printed before the first fit."""
    return f"""## Fixed beforehand

{plan.reference} against {", ".join(name for name in plan.variants if name != plan.reference)}: the same outer folds,
seeds {", ".join(map(str, plan.seeds))}, {plan.candidates_each} setting(s) of each objective, chosen in every outer fold
by the inner folds of its training subjects. With these {plan.subjects} scans a true difference in mean absolute error
below **{plan.detectable_years:.2f} years** is found less than four times in five (two-sided 5 %; from the paired errors
of the two baselines that differ most, before any objective was fitted). {LESS_ALIKE}"""


def _rows(report: ComparisonReport) -> list[Row]:
    rows = [method.age[0] for method in report.methods.values()]
    return sorted(rows, key=lambda row: row.kind) + list(report.methods[report.plan.reference].age[1:])


def _table(report: ComparisonReport, rows: list[Row], scopes: dict[str, str]) -> str:
    fitted = table(("objective", "fitted"), [[name, scope] for name, scope in scopes.items()])
    corrected = corrected_table(rows)
    after = f"### Bias-corrected, uses the true age\n\n{corrected}" if corrected else ""
    latent = image_table({name: method.latent for name, method in report.methods.items()})
    return f"""## Brain age of held-out subjects, raw, years

{regression_table(rows)}

Rows with different n tested different subjects and are comparable only through the paired tests below.

{fitted}

{after}

## Reconstruction and latent

{latent}"""


def _pairing(reference: str, name: str, pairing: Pairing) -> str:
    error, image = pairing.error, pairing.image
    verdict = _verdict(reference, name, pairing)
    return f"""## {reference} against {name}

{verdict}

{regression_table(pairing.restricted)}

{paired_table({name: error}, "years", {name: pairing.adjusted_p})}

Reconstruction, {name} minus {reference} (negative favours {reference}):

{paired_table(image, "SSIM or dB")}"""


def _verdict(reference: str, name: str, pairing: Pairing) -> str:
    found = pairing.error.difference
    if found.lower <= 0.0 <= found.upper:
        return f"No difference in absolute error is shown: {found} years, {pairing.error.subjects} subjects."
    better, worse = (reference, name) if found.value < 0 else (name, reference)
    return f"{better} has the lower absolute error than {worse}: {found} years, {pairing.error.subjects} subjects."


def _search(report: ComparisonReport) -> str:
    rows = [[name, ", ".join(map(str, counts))] for name, counts in report.chosen.items()]
    return "## How often each setting was chosen\n\n" + table(("objective", "first, second, ... setting"), rows)
