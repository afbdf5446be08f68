"""What each method's latent knows of each factor, beside what could be known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from med3d_export.phantom.recovery import FactorRecovery


def recovery_figure(found: Sequence[FactorRecovery], path: Path) -> Path:
    """Draw one panel per factor: R2 with its 95 % interval by method, the ceiling as a line. Returns ``path``."""
    factors = [score.factor for score in found[0].scores]
    figure = Figure(figsize=(3.0 * len(factors), 0.45 * len(found) + 1.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(factors), sharey=True))
    places = np.arange(len(found))[::-1]
    for axes, factor in zip(panels, factors, strict=True):
        scores = [one.score(factor) for one in found]
        values = np.array([score.r2.value for score in scores])
        reach = np.abs([[s.r2.value - s.r2.lower for s in scores], [s.r2.upper - s.r2.value for s in scores]])
        axes.errorbar(values, places, xerr=reach, fmt="o")
        axes.axvline(scores[0].ceiling, linestyle=":", color="grey")
        axes.set(title=factor.replace("_", " "), xlabel="R2 out of fold", xlim=(min(-0.1, values.min() - 0.1), 1.05))
    panels[0].set_yticks(places, [one.method for one in found])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
