"""The learning curve as a page: a figure, and a table by group."""

from pathlib import Path

from matplotlib.figure import Figure

from med3d_export.evaluation.learning_curve import EVERYONE, LearningCurve
from med3d_export.report.figures import LINE, MEN, WOMEN, save_figure
from med3d_export.report.page import write_page
from med3d_export.report.tables import interval, table
from med3d_export.result_files import write_json

COLOURS = {EVERYONE: LINE, "women": WOMEN, "men": MEN}


def write_learning_curve(curve: LearningCurve, name: str, folder: Path) -> Path:
    """Write JSON, figure, report.md and report.html into ``folder``; returns the HTML's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(curve, folder / "learning_curve.json")
    draw_learning_curve(curve, folder)
    return write_page(learning_text(curve, name), folder)[1]


def learning_text(curve: LearningCurve, name: str) -> str:
    """Return the page in Markdown."""
    most = curve.points[-1].training_heads
    groups = curve.points[-1].groups
    errors = table(
        ("training heads in a fold", *(f"{group} (n)" for group in groups)),
        [[str(one.training_heads), *(interval(one.groups[group].mae) for group in groups)] for one in curve.points],
    )
    fits = table(
        ("training heads in a fold", "r", "R2", "slope of gap on age"),
        [
            [
                str(one.training_heads),
                *(interval(figure) for figure in (scores.r, scores.r2, scores.gap_slope)),
            ]
            for one in curve.points
            for scores in (one.groups[EVERYONE],)
        ],
    )  # fmt: skip
    return f"""# How the error falls with the number of training heads: {name}

Every fold of the cross-validation was fitted anew, encoder and regression, to fewer of its training heads, spread over
ages, sexes and sites as all of them are, and asked about the same test heads. Years, with 95 % intervals over subjects.

Each doubling of the training heads lowers the mean absolute error by {interval(curve.gain)} years, by least squares on
the points below{_late(curve)}. The line says nothing of numbers far beyond {most}, nor of other scanners.

![Error by training heads](learning_curve.png)

## Mean absolute error, years

{errors}

## Everyone

{fits}
"""


def _late(curve: LearningCurve) -> str:
    if curve.late_gain is None:
        return ""
    return f"; on those of more than half of {curve.points[-1].training_heads} heads alone by {curve.late_gain:.2f}"


def draw_learning_curve(curve: LearningCurve, folder: Path) -> Path:
    """Draw error against training heads on a log scale, with intervals; everyone, women and men."""
    heads = [one.training_heads for one in curve.points]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (group, colour) in enumerate(COLOURS.items()):
            if any(group not in one.groups for one in curve.points):
                continue
            found = [one.groups[group].mae for one in curve.points]
            apart = 1 + 0.015 * (number - 1)
            axes.errorbar(
                [apart * one for one in heads],
                [one.value for one in found],
                yerr=[[one.value - one.lower for one in found], [one.upper - one.value for one in found]],
                fmt="o-", color=colour, capsize=3, markersize=4, linewidth=1, label=group,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(heads, [str(one) for one in heads])
        axes.minorticks_off()
        axes.set(xlabel="training heads in a fold", ylabel="mean absolute error, years")
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=8)

    return save_figure(folder / "learning_curve.png", (6.0, 4.0), draw)
