"""The plots that people look at first: estimates against age, gaps, errors of all methods, coverage, loss curves."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from med3d_export.calibration import measured_coverage
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.scores import Row, corrected_estimates
from med3d_export.subjects.labels import Labels
from med3d_pipeline.inference.latent_space import conformal_quantile

Floats = npt.NDArray[np.float64]
Axes = Any
DOTS_PER_INCH = 110
WOMEN, MEN, LINE = "#c2410c", "#1d4ed8", "#525252"
LEVELS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2).tolist())


def save_figure(path: Path, size_inches: tuple[float, float], draw: Callable[[Figure], None]) -> Path:
    """Draw into a figure of its own (no global state) and write a PNG."""
    figure = Figure(figsize=size_inches, layout="constrained")
    draw(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
    return path


def predicted_age(found: HeldOut, labels: Labels, level: float, folder: Path) -> Path:
    """Draw out-of-fold estimates, averaged over repeats, against true age, with the conformal band."""
    estimates, ages = np.nanmean(found.age[:, found.tested], axis=0), labels.ages_years[found.tested]
    width = conformal_quantile(found.age[0][found.tested] - ages, level)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ends = np.array([min(ages.min(), estimates.min()) - 3, max(ages.max(), estimates.max()) + 3])
        axes.plot(ends, ends, color=LINE, linewidth=1, label="estimate = age")
        if np.isfinite(width):
            axes.fill_between(
                ends, ends - width, ends + width, color=LINE, alpha=0.12, linewidth=0,
                label=f"± {width:.1f} years ({level:.0%} conformal)",
            )  # fmt: skip
        _by_sex(axes, ages, estimates, labels.sexes[found.tested])
        axes.set(xlabel="age, years", ylabel="estimated brain age, years", xlim=ends, ylim=ends, aspect="equal")
        axes.legend(fontsize=8, loc="upper left")

    return save_figure(folder / "predicted_age.png", (5.2, 5.0), draw)


def gap_against_age(found: HeldOut, labels: Labels, folder: Path) -> Path:
    """Return the gap against age, raw and, where every subject was tested, bias-corrected.

    Each with its regression line.
    """
    ages, sexes = labels.ages_years, labels.sexes
    panels = {"raw gap": found.age}
    corrected = corrected_estimates(found, ages)
    if corrected is not None:
        panels["bias-corrected gap"] = corrected

    def draw(figure: Figure) -> None:
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
        for axes, (name, estimates) in zip(grid[0], panels.items(), strict=True):
            tested = np.isfinite(estimates).any(axis=0)
            own, gaps = ages[tested], np.nanmean(estimates[:, tested], axis=0) - ages[tested]
            slope, intercept = np.polyfit(own, gaps, 1)
            ends = np.array([own.min(), own.max()])
            axes.axhline(0, color=LINE, linewidth=0.8)
            axes.plot(ends, intercept + slope * ends, color=LINE, linestyle="--", label=f"slope {slope:+.2f} per year")
            _by_sex(axes, own, gaps, sexes[tested])
            axes.set(xlabel="age, years", title=name)
            axes.legend(fontsize=8)
        grid[0][0].set_ylabel("gap, years")

    return save_figure(folder / "gap_against_age.png", (4.4 * len(panels), 3.8), draw)


def _by_sex(axes: Axes, x: Floats, y: Floats, sexes: npt.NDArray[np.str_]) -> None:
    for sex, colour, name in (("F", WOMEN, "women"), ("M", MEN, "men")):
        held = sexes == sex
        if held.any():
            axes.scatter(x[held], y[held], s=14, color=colour, alpha=0.75, linewidths=0, label=name)


def errors_of_all(rows: Sequence[Row], unit: str, name: str, folder: Path) -> Path:
    """Draw every method's mean absolute error with its 95 % interval over subjects, each repeat as a small mark."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            mae, colour = row.raw.mae, LINE if row.kind == "baseline" else WOMEN
            error = [[mae.value - mae.lower], [mae.upper - mae.value]]
            axes.errorbar(mae.value, place, xerr=error, fmt="o", color=colour, capsize=3)
            repeats = row.raw.mae_by_repeat
            axes.scatter(repeats, [place + 0.22] * len(repeats), s=9, marker="|", color=colour)
        axes.set_yticks(range(len(rows)), [f"{row.name}\n({row.kind}, n = {row.subjects})" for row in rows], fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel=f"mean absolute error, {unit}")
        axes.grid(axis="x", alpha=0.3)

    return save_figure(folder / f"{name}.png", (7.0, 0.55 * len(rows) + 1.0), draw)


def calibration(found: HeldOut, labels: Labels, folder: Path) -> Path | None:
    """Draw measured coverage against the stated level, with the Clopper-Pearson interval.

    None where not all were tested.
    """
    if not found.is_complete:
        return None
    gaps = found.age[0] - labels.ages_years
    measured = [measured_coverage(gaps, found.folds[0], level) for level in LEVELS]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0.4, 1], [0.4, 1], color=LINE, linewidth=1, label="as stated")
        axes.plot(LEVELS, [one.covered for one in measured], "o-", color=MEN, markersize=4, label="measured")
        axes.fill_between(
            LEVELS, [one.lower for one in measured], [one.upper for one in measured], color=MEN, alpha=0.15,
            linewidth=0, label="95 % Clopper-Pearson",
        )  # fmt: skip
        axes.set(xlabel="stated level", ylabel="share of held-out subjects inside", xlim=(0.45, 1), ylim=(0.35, 1.01))
        axes.legend(fontsize=8, loc="upper left")

    return save_figure(folder / "calibration.png", (4.6, 4.2), draw)


def loss_curves(found: HeldOut, folder: Path) -> Path:
    """Draw every term of the objective over the epochs, one line per fit.

    Held-out terms, where there are any, dashed.
    """
    curves = [one.curve for of_repeat in found.chosen for one in of_repeat if one.curve]
    names = ["total", *sorted({name for curve in curves for name in curve[0].terms})]

    def draw(figure: Figure) -> None:
        columns = 3
        count = -(-len(names) // columns)
        grid = figure.subplots(count, columns, squeeze=False, sharex=True)
        for axes, name in zip(grid.flat, names, strict=False):
            for curve in curves:
                axes.plot(*_term(curve, name, "terms"), color=MEN, alpha=0.35, linewidth=0.9, marker=".", markersize=3)
                axes.plot(*_term(curve, name, "held_out"), color=WOMEN, alpha=0.5, linewidth=0.9, linestyle="--")
            axes.set_title(name.replace("_", " "), fontsize=9)
            axes.tick_params(labelsize=7)
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("epoch", fontsize=9)

    return save_figure(folder / "loss_curves.png", (8.4, 2.3 * -(-len(names) // 3)), draw)


def _term(curve: Sequence[Any], name: str, part: str) -> tuple[list[int], list[float]]:
    if name == "total" and part == "terms":
        return [one.epoch + 1 for one in curve], [one.total for one in curve]
    held = [(one.epoch + 1, getattr(one, part)[name]) for one in curve if name in getattr(one, part)]
    return [epoch for epoch, _ in held], [value for _, value in held]
