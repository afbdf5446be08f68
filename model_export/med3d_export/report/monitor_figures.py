"""Pictures of a fit's health: loss curves, KL per dimension, spectrum, reconstruction from the mean and from a draw."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from med3d_export.monitors import ACTIVE_VARIANCE, PosteriorMonitors
from med3d_export.training import EpochReport


def monitor_figures(monitors: PosteriorMonitors, curve: Sequence[EpochReport], folder: Path) -> list[Path]:
    """Write monitors.png and, where there is a curve, loss.png into ``folder``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    _dimensions(axes[0, 0], monitors)
    _variances(axes[0, 1], monitors)
    _spectrum(axes[1, 0], monitors)
    _errors(axes[1, 1], monitors)
    written = [folder / "monitors.png"]
    figure.savefig(written[0], dpi=110)
    if curve:
        written.append(folder / "loss.png")
        loss_figure(curve).savefig(written[1], dpi=110)
    return written


def loss_figure(curve: Sequence[EpochReport]) -> Figure:
    """Return the objective and each of its terms by epoch, training beside held-out subjects."""
    names = ["total", *curve[0].terms]
    figure = Figure(figsize=(3.2 * len(names), 3.0), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        epochs = [report.epoch + 1 for report in curve]
        axes.plot(epochs, [r.total if name == "total" else r.terms[name] for r in curve], label="training")
        watched = [(r.epoch + 1, r.held_out[name]) for r in curve if name in r.held_out]
        if watched:
            axes.plot(*zip(*watched, strict=True), label="held out")
            axes.legend()
        axes.set(title=name.replace("_", " "), xlabel="epoch")
    return figure


def _dimensions(axes: Axes, monitors: PosteriorMonitors) -> None:
    axes.plot(np.sort(monitors.kl_nats)[::-1])
    axes.set(title="KL to the prior, by dimension", xlabel="dimension, sorted", ylabel="nats")


def _variances(axes: Axes, monitors: PosteriorMonitors) -> None:
    axes.semilogy(np.maximum(np.sort(monitors.mean_variance)[::-1], 1e-8))
    axes.axhline(ACTIVE_VARIANCE, linestyle=":", color="grey")
    title = f"{monitors.active_units} of {len(monitors.mean)} units are active"
    axes.set(title=title, xlabel="dimension, sorted", ylabel="variance of the mean")


def _spectrum(axes: Axes, monitors: PosteriorMonitors) -> None:
    axes.semilogy(np.maximum(monitors.spectrum, 1e-8), label="aggregated posterior")
    axes.semilogy(monitors.expected_spectrum, linestyle=":", color="grey", label="as many draws from the prior")
    axes.legend()
    axes.set(title="Spectrum of held-out draws", xlabel="principal axis", ylabel="variance")


def _errors(axes: Axes, monitors: PosteriorMonitors) -> None:
    axes.scatter(monitors.error_from_mean, monitors.error_from_draw, s=12)
    highest = 1.05 * float(max(monitors.error_from_mean.max(), monitors.error_from_draw.max()))
    axes.plot([0, highest], [0, highest], linestyle=":", color="grey")
    axes.set(
        title="Reconstruction of held-out heads",
        xlabel="squared error from the mean",
        ylabel="squared error from a draw",
    )
