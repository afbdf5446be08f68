"""The report of one run: what was asked, the tables, the plots, and how to read them."""

from dataclasses import dataclass
from pathlib import Path

from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.image_quality import SIGMA_VOXELS, WINDOW
from med3d_export.evaluation.protocol import LESS_ALIKE, EvaluationReport
from med3d_export.evaluation.reactive_intervals import WORTH
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.monitors import PosteriorMonitors
from med3d_export.report.figures import calibration, errors_of_all, gap_against_age, loss_curves, predicted_age
from med3d_export.report.latent_figures import latent_maps, reconstructions, traversals
from med3d_export.report.monitor_figures import monitor_figures
from med3d_export.report.page import write_page
from med3d_export.report.tables import (
    corrected_table,
    coverage_table,
    image_table,
    monitor_table,
    paired_table,
    reactive_table,
    regression_table,
)
from med3d_export.subjects.labels import Labels
from med3d_export.training import FittedAutoencoder

PAPER = "arXiv 2510.00051 publishes SSIM 0.750 and PSNR 24.91 dB"
SCOPES = {
    "all-folds": "every outer fold of every repeat",
    "first-fold": "the first outer fold of every repeat only, for want of hours",
}


@dataclass(frozen=True, eq=False)
class ReportInput:
    """An evaluated run. first_fit: of the first fold of the first repeat, which the traversals decode with.

    monitors: of each fold of the first repeat, on its test subjects. split: what the folds are, in words.
    """

    report: EvaluationReport
    found: HeldOut
    labels: Labels
    config: EvaluationConfig
    first_fit: FittedAutoencoder
    monitors: tuple[PosteriorMonitors, ...]
    data_range: float
    split: str


def write_report(source: ReportInput, folder: Path) -> Path:
    """Draw the figures into ``folder`` and write report.md and report.html beside them; returns the HTML's path."""
    figures = _figures(source, folder)
    text = "\n\n".join(
        [_opening(source), _age(source), _intervals(source), _latent(source), _sdmt(source), _plots(figures)]
    )
    return write_page(text + "\n", folder)[1]


def _figures(source: ReportInput, folder: Path) -> dict[str, Path]:
    report, found, labels, first = source.report, source.found, source.labels, source.found.chosen[0][0]
    drawn = {
        "Estimated against true age": predicted_age(found, labels, source.config.interval_level, folder),
        "Gap against age": gap_against_age(found, labels, folder),
        "Errors of all methods": errors_of_all(report.age, "years", "errors", folder),
        "Calibration of the intervals": calibration(found, labels, folder),
        "Latent maps": latent_maps(first, labels, folder),
        "Reconstructions of held-out heads": reconstructions(first, labels, source.data_range, folder),
        "Latent traversals": traversals(source.first_fit, first, labels, source.data_range, folder),
        "Loss curves": loss_curves(found, folder),
        "Health of the latent": monitor_figures(source.monitors[0], (), folder)[0],
    }
    return {name: path for name, path in drawn.items() if path is not None}


def _opening(source: ReportInput) -> str:
    report, config = source.report, source.config
    fixed = len(config.head_costs) == 1 and config.head_kernels == ("linear",)
    settings = "fixed by the recipe" if fixed else f"chosen in {config.inner_folds} inner folds by subject"
    return f"""# Evaluation of {report.method.name}

The encoder is **{report.method.kind}**. {report.subjects} scans, {source.split},
{len(report.seeds)} repeats with seeds {", ".join(map(str, report.seeds))}; fitted:
{SCOPES[report.scope]}. In every fold encoder, scaler and support vector regression, and age networks and their share
of an age where the recipe has them, are fitted anew to the training
subjects; the regression's settings are {settings}. No subject is tested by a
model that has seen it.

**Detectable difference, fixed before any trained row was looked at:** {report.detectable_years:.2f} years of mean
absolute error (two-sided 5 %, power 0.8, from the paired errors of the two
baselines that differ most). Smaller differences prove
nothing with this cohort. {LESS_ALIKE}

Intervals in brackets are 95 % percentile bootstrap intervals over subjects; a subject's errors are averaged over
repeats first."""


def _age(source: ReportInput) -> str:
    report = source.report
    corrected = corrected_table(report.age)
    after = (
        "### Bias-corrected\n\nIntercept and slope of the gap on age from each fold's training subjects. The "
        f"correction uses the true age, so these rows must not be compared with the raw ones.\n\n{corrected}"
        if corrected
        else "Not every subject was tested, so no bias correction is given."
    )
    return f"""## Brain age

### Raw, years

{regression_table(report.age)}

### {report.method.name} against each baseline, paired by subject

Absolute error of {report.method.name} minus that of the other: negative favours {report.method.name}.

{paired_table(report.against, "years")}

{after}"""


def _intervals(source: ReportInput) -> str:
    latent = source.report.latent
    if not latent.coverage:
        return "## Intervals\n\nNot every subject was tested, so coverage is not given."
    rows = dict(latent.coverage)
    if latent.corrected_coverage is not None:
        rows["all, bias-corrected gap"] = latent.corrected_coverage
    return f"""## Intervals

Conformal, from out-of-fold residuals; each fold's subjects get the half width that the other folds' residuals give
(first repeat, so that each subject counts once). Age bands with fewer than 20 subjects are left out. The interval of
the raw gap is that of the estimate moved by the age, so its coverage is the same. Half widths in years.

{coverage_table(rows)}

### Would intervals that react be narrower?

Half width = what the other folds' errors show x the error to be expected: by regression on a measure of difficulty, or
by site. Intervals follow a measure that saves {WORTH:.0%} of the mean width; fixed before any was tried.

{reactive_table(latent.reactive)}"""


def _latent(source: ReportInput) -> str:
    report, latent = source.report, source.report.latent
    return f"""## Reconstruction and latent

SSIM (Wang et al. 2004): Gaussian window of {SIGMA_VOXELS} voxels, {WINDOW} wide in each direction, data range
{source.data_range:g} (the largest value that a tensor holds); PSNR with the same range. "Brain" counts voxels inside
the template's brain only; "whole" counts the zeros outside as well, which mostly flatters. {PAPER}
without saying on what volume, with what window or range; ours are of held-out,
brain-extracted heads, so the figures cannot be put side by side. The training subjects' mean
head in place of the reconstruction: SSIM {latent.mean_head_ssim_brain:.3f}, PSNR
{latent.mean_head_psnr_brain:.2f} dB inside the brain.

{image_table({report.method.name: latent})}

PLS: two components on the fold's training latents, estimates of held-out subjects; null: labels shuffled before PLS.

### Health of the latent

On the test subjects of each fold of the first repeat, whom its fit had not seen: mean (lowest to highest fold); the
figure shows the first. Error shares: of the mean head's error.

{monitor_table({report.method.name: source.monitors})}"""


def _sdmt(source: ReportInput) -> str:
    report = source.report
    if not report.sdmt:
        return "## SDMT\n\nThe cohort has no SDMT scores."
    coverage = report.latent.sdmt_coverage
    said = f"\n\n{coverage_table({'SDMT, points': coverage})}" if coverage is not None else ""
    return f"""## SDMT

Labels: **{report.sdmt_evidence}**.

{regression_table(report.sdmt)}{said}"""


def _plots(figures: dict[str, Path]) -> str:
    return "## Figures\n\n" + "\n\n".join(f"### {name}\n\n![{name}]({path.name})" for name, path in figures.items())
