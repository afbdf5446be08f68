"""Plots of the latent and of what the decoder shows: maps, reconstructions, traversals."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from med3d_export.fold_evidence import FoldEvidence
from med3d_export.latent_maps import LatentMap, pca_map, pls_map
from med3d_export.report.figures import MEN, WOMEN, save_figure
from med3d_export.subjects.labels import Labels
from med3d_export.training import FittedAutoencoder, Tensors

Floats = npt.NDArray[np.float64]
STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Of a traversal, in standard deviations of the training subjects along its direction."""


def latent_maps(one: FoldEvidence, labels: Labels, folder: Path) -> Path:
    """Draw PCA and PLS maps by age and by sex; axes from one fold's training subjects, whom small dots show.

    The large dots are the fold's test subjects: neither encoder nor axes have seen them.
    """
    latents, ages = one.latents.astype(np.float64), labels.ages_years
    own = one.training
    maps = {"PCA": pca_map(latents[own]), "PLS on age": pls_map(latents[own], ages[own])}

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 2)
        for row, (name, to_map) in zip(grid, maps.items(), strict=True):
            coordinates = to_map(latents)
            shown = row[0].scatter(*coordinates[own].T, c=ages[own], s=16, alpha=0.45, cmap="viridis", linewidths=0)
            row[0].scatter(
                *coordinates[one.test].T, c=ages[one.test], s=42, cmap="viridis", norm=shown.norm, edgecolors="black",
                linewidths=0.5,
            )  # fmt: skip
            figure.colorbar(shown, ax=row[0], label="age, years")
            _by_sex(row[1], coordinates, labels, one)
            row[0].set_title(f"{name}, by age", fontsize=9)
            row[1].set_title(f"{name}, by sex", fontsize=9)
            for axes in row:
                axes.set(xlabel="first axis", ylabel="second axis")
        grid[0][1].legend(fontsize=8)

    return save_figure(folder / "latent_maps.png", (9.0, 7.4), draw)


def _by_sex(axes: Any, coordinates: Floats, labels: Labels, one: FoldEvidence) -> None:
    for sex, colour, name in (("F", WOMEN, "women"), ("M", MEN, "men")):
        trained = one.training[labels.sexes[one.training] == sex]
        tested = one.test[labels.sexes[one.test] == sex]
        axes.scatter(*coordinates[trained].T, s=16, alpha=0.45, color=colour, linewidths=0)
        axes.scatter(
            *coordinates[tested].T, s=42, color=colour, edgecolors="black", linewidths=0.5, label=f"{name}, held out"
        )


def reconstructions(one: FoldEvidence, labels: Labels, data_range: float, folder: Path) -> Path:
    """Draw coronal slices of held-out heads, their reconstructions from the latent, and the differences."""

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(one.slices), 3, squeeze=False)
        for row, (head, found), subject in zip(grid, one.slices, one.test, strict=False):
            _slice(row[0], head, data_range, f"held-out head, {labels.ages_years[subject]:.0f} years")
            _slice(row[1], found, data_range, "reconstruction")
            shown = row[2].imshow((found - head).T, origin="lower", cmap="RdBu_r", vmin=-0.5, vmax=0.5)
            _plain(row[2], "difference")
            figure.colorbar(shown, ax=row[2], shrink=0.8)

    return save_figure(folder / "reconstructions.png", (8.0, 2.6 * len(one.slices)), draw)


def traversals(fitted: FittedAutoencoder, one: FoldEvidence, labels: Labels, data_range: float, folder: Path) -> Path:
    """Draw what the decoder shows along the PLS direction for age and two principal ones, less that at 0."""
    latents = one.latents[one.training].astype(np.float64)
    ages = labels.ages_years[one.training]
    pca = pca_map(latents)
    directions = {"PLS on age": _direction(pls_map(latents, ages), latents, 0)}
    directions |= {f"principal axis {axis + 1}": _direction(pca, latents, axis) for axis in (0, 1)}
    shown = {
        name: fitted.reconstruct((latents.mean(axis=0) + np.outer(STEPS, step)).astype(np.float32))
        for name, step in directions.items()
    }
    return save_figure(
        folder / "traversals.png", (10.0, 3.1 * len(shown)), lambda figure: _draw_traversals(figure, shown, data_range)
    )


def _direction(to_map: LatentMap, latents: Floats, axis: int) -> Floats:
    """Return (d,) one standard deviation of the cohort along what a coordinate goes with: regression of latents on it.

    Moving along the axis itself would leave the cohort; the latents' regression on the coordinate stays within it.
    """
    coordinate = to_map(latents)[:, axis]
    standardised = (coordinate - coordinate.mean()) / coordinate.std()
    return np.asarray(standardised @ (latents - latents.mean(axis=0)) / len(latents), dtype=np.float64)


def _draw_traversals(figure: Figure, shown: dict[str, Tensors], data_range: float) -> None:
    grid = figure.subplots(2 * len(shown), len(STEPS), squeeze=False)
    for number, (name, tensors) in enumerate(shown.items()):
        middle = tensors.shape[2] // 2
        slices = tensors[:, :, middle]
        centre = slices[STEPS.index(0.0)]
        reach = max(float(np.abs(slices - centre).max()), 1e-6)
        for column, (step, one) in enumerate(zip(STEPS, slices, strict=True)):
            _slice(grid[2 * number][column], one, data_range, f"{step:+g} SD")
            below = grid[2 * number + 1][column]
            below.imshow((one - centre).T, origin="lower", cmap="RdBu_r", vmin=-reach, vmax=reach)
            _plain(below, f"± {reach:.2f}" if step == 0 else "")
        grid[2 * number][0].set_ylabel(name, fontsize=8)
        grid[2 * number + 1][0].set_ylabel("difference\nfrom 0 SD", fontsize=8)


def _slice(axes: Any, image: npt.NDArray[np.float32], data_range: float, title: str) -> None:
    axes.imshow(image.T, origin="lower", cmap="gray", vmin=0, vmax=data_range)
    _plain(axes, title)


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
