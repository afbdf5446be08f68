"""What the same head's answer changes by when it is scanned or written down again: table, JSON and figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from med3d_export.repeatability.changes import Group
from med3d_export.repeatability.scores import (
    AIMED_SD_YEARS,
    AIMED_SIGNAL_TO_NOISE,
    ChangeScore,
    MeasuredHead,
    Repeatability,
    changes_in_years,
)
from med3d_export.report.figures import LINE, Axes, save_figure
from med3d_export.report.tables import interval, table
from med3d_export.result_files import write_json

TITLES: dict[Group, str] = {"rewriting": "The same scan, written down otherwise", "rescan": "As another scan shows it"}
DIGITS: dict[Group, int] = {"rewriting": 4, "rescan": 2}
REPEATABILITY_COEFFICIENT = 1.96 * float(np.sqrt(2.0))
"""Times the within-subject SD: two measurements of one head differ by less in 95 % of cases (Bland and Altman)."""


def write_repeatability(found: Repeatability, folder: Path) -> Path:
    """Write repeatability.json, repeatability.md and repeatability.png into ``folder``; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(found, folder / "repeatability.json")
    figure = _figure(found, folder / "repeatability.png")
    page = folder / "repeatability.md"
    page.write_text(repeatability_text(found, figure.name), encoding="utf-8")
    return page


def repeatability_text(found: Repeatability, figure: str) -> str:
    """Return the page in Markdown."""
    parts = (
        _origin(found),
        _rewritings(found),
        _rescans(found),
        f"![Change of the estimated age by head and change]({figure})",
        _changes(found),
        METHOD,
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(found: Repeatability) -> str:
    estimates = [years for head in found.heads if (years := head.as_it_is.brain_age_years) is not None]
    names = ", ".join(f"{name} ({code})" for name, code in found.refused_as_they_are.items())
    refused = f" Refused as they are, and left out: {names}." if names else ""
    return f"""# Repeatability of {found.bundle}

Bundle `{found.digest[:12]}` on {", ".join(found.providers)}. {len(estimates)} heads, spread over the cohort's ages and
estimated at {min(estimates):.0f} to {max(estimates):.0f} years as they are, were changed in ways that leave the person
the same, and went through the whole chain again: reading, preprocessing, quality gate, encoder, head. Where they are
training subjects, this says nothing of accuracy.{refused}"""


def _rewritings(found: Repeatability) -> str:
    group = found.together.get("rewriting")
    verdict = "" if group is None else f" All of them together: **{'reached' if group.is_as_aimed else 'missed'}**."
    rows = [
        [*_figures(score), _share(score.signal_to_noise_change), "yes" if score.is_as_aimed else "**no**"]
        for score in _of("rewriting", found)
    ]
    return f"""## {TITLES["rewriting"]}

The answer should not change. Aim: an SD of at most {AIMED_SD_YEARS:g} year, the signal to noise within
{AIMED_SIGNAL_TO_NOISE * 100:g} %, nothing refused.{verdict}

{table((*HEADINGS, "largest change of signal to noise", "as aimed"), rows)}"""


def _rescans(found: Repeatability) -> str:
    group = found.together.get("rescan")
    said = "" if group is None else _repeatability_coefficient(group)
    return f"""## {TITLES["rescan"]}

Made from one scan each; a real second visit adds distortion, motion and true change, so these are lower bounds. {said}

{table(HEADINGS, [_figures(score) for score in _of("rescan", found)])}"""


def _repeatability_coefficient(group: ChangeScore) -> str:
    years = REPEATABILITY_COEFFICIENT * group.within_subject_sd_years
    said = f"differ by less than {years:.2f} years in 95 % of cases ({REPEATABILITY_COEFFICIENT:.2f} SD)."
    return f"Two such scans of one person\n{said}"


HEADINGS = ("change", "heads", "SD within a head, years", "ICC(A,1)", "mean shift, years", "largest change", "refused")


def _of(group: Group, found: Repeatability) -> list[ChangeScore]:
    together = found.together.get(group)
    return [score for score in found.changes if score.group == group] + ([together] if together else [])


def _figures(score: ChangeScore) -> list[str]:
    within, digits = score.within_subject_sd_interval, DIGITS[score.group]
    return [
        score.name,
        str(score.heads),
        f"{score.within_subject_sd_years:.{digits}f}" if within is None else interval(within, digits),
        "not told" if score.icc is None else interval(score.icc, 3),
        f"{score.mean_shift_years:+.{digits}f}",
        f"{score.largest_change_years:.{digits}f}",
        ", ".join(f"{count} {code}" for code, count in score.refused.items()) or "0",
    ]


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value * 100:.3f} %"


def _changes(found: Repeatability) -> str:
    rows = [[score.name, str(score.measurements - 1), score.what] for score in found.changes]
    return "## What was done\n\n" + table(("change", "times", "how"), rows)


METHOD = """## How the figures are made

- **SD within a head**: the square root of the mean over heads of the variance of a head's answers, the one as it is
  among them (Bland and Altman, BMJ 313 (1996) 744). With its 95 % bootstrap interval over heads.
- **ICC(A,1)**: absolute agreement of single measurements in the two-way random model, that is ICC(2,1) of Shrout and
  Fleiss (Psychological Bulletin 86 (1979) 420), with the interval of McGraw and Wong (Psychological Methods 1 (1996)
  30). It depends on how far the heads' ages are spread: heads of like ages have a lower one at the same SD.
- **Mean shift**: after less before. **Largest change**: of one answer of one head, either way.
- **All of them**: every change of the table as one more measurement, but for those at which more than half of the
  heads are refused.
- **Refused**: answers that the quality gate or the limits on the latent refuse after the change. A head refused once is
  left out of that line's other figures.
- **Longer voxels**: blurred by a Gaussian of the variance that the longer box has more (s^2 / 12), then sampled once by
  cubic B-splines. **Turned heads**: sampled once by cubic B-splines, with 20 mm more room on each side."""


def _figure(found: Repeatability, path: Path) -> Path:
    groups: Sequence[Group] = [group for group in TITLES if any(score.group == group for score in found.changes)]
    rows = [max(1, len([score for score in found.changes if score.group == group])) for group in groups]

    def draw(figure: Figure) -> None:
        panels = np.atleast_1d(figure.subplots(len(groups), 1, height_ratios=rows))
        for axes, group in zip(panels, groups, strict=True):
            dots = _panel(axes, [score for score in found.changes if score.group == group], found.heads)
            axes.set(title=TITLES[group], xlabel="after less before, years")
        figure.colorbar(dots, ax=panels.tolist(), label="estimate as it is, years", shrink=0.6)

    return save_figure(path, (8.0, 0.42 * sum(rows) + 2.2), draw)


def _panel(axes: Axes, scores: Sequence[ChangeScore], heads: Sequence[MeasuredHead]) -> Axes:
    """Draw one row per change, a dot per head and variant; returns the dots."""
    years, places, colours = [], [], []
    for place, score in enumerate(scores):
        for number, head in enumerate(heads):
            found = changes_in_years(head, score.name)
            years += found.tolist()
            places += [place + 0.6 * ((number + 0.5) / len(heads) - 0.5)] * len(found)
            colours += [head.as_it_is.brain_age_years] * len(found)
    axes.axvspan(-AIMED_SD_YEARS, AIMED_SD_YEARS, color=LINE, alpha=0.12, linewidth=0)
    axes.axvline(0.0, color=LINE, linewidth=0.8)
    estimates = [head.as_it_is.brain_age_years for head in heads if head.as_it_is.brain_age_years is not None]
    dots = axes.scatter(years, places, c=colours, s=14, vmin=min(estimates), vmax=max(estimates), linewidths=0)
    widest = max(1.15 * max(np.abs(years), default=0.0), 1.5 * AIMED_SD_YEARS)
    axes.set(xlim=(-widest, widest), ylim=(len(scores) - 0.5, -0.5))
    axes.set_yticks(range(len(scores)), [score.name for score in scores], fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    return dots
