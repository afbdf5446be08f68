"""What 20 heads of a scanner that the model has not learned from are worth to its other heads.

PYTHONPATH=tests python -m bench.bench_calibration [--data FOLDER] [--cache FOLDER] [--splits 100] [--report FOLDER]
"""

import argparse
import os
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.measuring import machine, table
from med3d_cli.calibration.calibration_list import read_list
from med3d_pipeline.calibration.fitting import Bearings, CalibrationHead, fit_site
from med3d_pipeline.calibration.site_calibration import BundleName, CalibratedSite
from med3d_pipeline.inference.yardstick import TrainingYardstick, Yardstick
from med3d_store.object_store import ObjectStore
from med3d_worker.calibration_heads import HeadReader, UnusableHead
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.model.loaded_model import LoadedModel, load_model
from med3d_worker.settings import BundleSettings

SIZES = (20, 30)
ERROR_AIM_YEARS, FAR_AIM = 5.3, 0.08
CREATED = date(2026, 1, 1)
DATASET = "ds002748"
PAGE, PICTURE = "site_calibration", "site_calibration.png"


class Figures(NamedTuple):
    """Of the heads that were not calibrated on; years and shares."""

    mean_error: float
    bias: float
    half_width: float
    coverage: float
    far: float
    poorly_reconstructed: float
    mean_age_error: float


def look_at(model: LoadedModel, data: Path, cache: Path | None) -> list[CalibrationHead]:
    """The usable heads of ds002748; all of its people are taken, those with a mild depression, too."""
    tensors = TensorCache(ObjectStore.make(cache.as_uri())) if cache else None
    read, heads = HeadReader(model, tensors), []
    for listed in read_list(data / DATASET, ["control", "depr"]).heads:
        try:
            heads.append(read(listed.path, listed.age_years))
        except UnusableHead as unusable:
            print(f"row {listed.row}: {unusable}")
    return heads


def figures(heads: list[CalibrationHead], yardstick: Yardstick, level: float, guess_years: float) -> Figures:
    """What ``yardstick`` says of ``heads``; guess_years: the mean age of those that were calibrated on."""
    ages = np.array([head.age_years for head in heads])
    errors = np.array([yardstick.age_years(head.sighting.estimate_years) for head in heads]) - ages
    distances = yardstick.distance(np.stack([head.sighting.latent for head in heads]))
    shown = [head.sighting.reconstruction_error for head in heads]
    beyond = [yardstick.reconstruction_percentile(error) > yardstick.review_percentile for error in shown if error]
    return Figures(
        np.abs(errors).mean(),
        errors.mean(),
        yardstick.half_width(level),
        np.mean(np.abs(errors) <= yardstick.half_width(level)),
        np.mean([yardstick.percentile(float(one)) > yardstick.review_percentile for one in distances]),
        np.mean(beyond) if beyond else 0.0,
        np.abs(ages - guess_years).mean(),
    )


def splits(model: LoadedModel, heads: list[CalibrationHead], size: int, count: int) -> dict[str, list[Figures]]:
    """Figures without and with calibration on ``size`` heads at random, tried on all others, ``count`` times."""
    space, limits = model.predictor.space, model.predictor.limits
    bundle = BundleName(**model.reference.model_dump())
    rng = np.random.default_rng(0)
    found: dict[str, list[Figures]] = {"no calibration": [], f"{size} heads": []}
    for _ in range(count):
        order = rng.permutation(len(heads))
        own, others = ([heads[place] for place in places] for places in (order[:size], order[size:]))
        made = fit_site(own, "site", Bearings(bundle, space, limits), CREATED).calibration
        guess = float(np.mean([head.age_years for head in own]))
        yardsticks = TrainingYardstick(space, limits), CalibratedSite(made, space)
        for name, yardstick in zip(found, yardsticks, strict=True):
            found[name].append(figures(others, yardstick, limits.interval_level, guess))
    return found


def _row(name: str, tried: int, values: np.ndarray) -> tuple[str, ...]:
    mean, spread = values.mean(axis=0), values.std(axis=0)
    shares = [f"{100 * share:.0f}" for share in mean[3:6]]
    return (
        name, str(tried), f"{mean[0]:.2f} ({spread[0]:.2f})", f"{mean[1]:+.2f} ({spread[1]:.2f})", f"{mean[2]:.1f}",
        *shares, f"{mean[6]:.2f}",
    )  # fmt: skip


HEADER = (
    "calibrated on", "tried on", "mean error (SD), years", "bias (SD), years", "half width, years", "coverage, %",
    "far from training, %", "poorly reconstructed, %", "mean age alone, years",
)  # fmt: skip


def report(model: LoadedModel, heads: list[CalibrationHead], found: dict[int, dict[str, list[Figures]]]) -> str:
    """Return the page in Markdown."""
    ages, estimates = _ages_and_estimates(heads)
    slope, intercept = np.polyfit(estimates, ages, 1)
    r, best = np.corrcoef(ages, estimates)[0, 1], np.abs(intercept + slope * estimates - ages).mean()
    rows = [
        _row(name, len(heads) - size, np.array(values))
        for size, of_size in found.items()
        for name, values in of_size.items()
    ]
    count = len(next(iter(found[SIZES[0]].values())))
    name = model.reference
    return f"""# What {SIZES[0]} heads of a new scanner are worth

{name.name} {name.version} ({name.digest[:12]}), which has learned from {model.cohort.name} alone, asked about OpenNeuro
{DATASET}: {len(heads)} people of {ages.min():.0f} to {ages.max():.0f} years on another scanner. {count} random splits into heads to
calibrate on and all others to be tried; means over the splits. Made by `python -m bench.bench_calibration`
([how](../training.md#a-model-of-one-site)).

{table(HEADER, rows)}

Estimate and age correlate by {r:.2f}. The least-squares line through all {len(heads)}, fitted to the very heads that it is held against, leaves {best:.2f} years: little more can be had of an offset and a slope.
Aims with {SIZES[0]} heads: mean error at most {ERROR_AIM_YEARS} years, far from training at most {FAR_AIM:.0%}.

![Estimates and ages; mean errors of the splits]({PICTURE})

All people of {DATASET} are taken, those with a mild depression, too, since the healthy alone are fewer than a
calibration needs: the offset that is found here is not the scanner's alone. At a hospital: healthy heads only.
"""


def draw(heads: list[CalibrationHead], found: dict[int, dict[str, list[Figures]]], path: Path) -> None:
    """Draw estimates over ages without calibration, and the splits' mean errors without and with it."""
    from matplotlib.figure import Figure

    ages, estimates = _ages_and_estimates(heads)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    seen, errors = figure.subplots(1, 2)
    seen.scatter(ages, estimates, s=14)
    reach = [min(ages.min(), estimates.min()), max(ages.max(), estimates.max())]
    seen.plot(reach, reach, color="grey", linestyle=":")
    seen.set(
        xlabel="age, years", ylabel="estimate without calibration, years", title=f"{len(heads)} heads of {DATASET}"
    )
    names = [f"{name}\n({len(heads) - size} others)" for size, of_size in found.items() for name in of_size]
    errors.boxplot([[one.mean_error for one in values] for of_size in found.values() for values in of_size.values()])
    errors.set_xticks(range(1, len(names) + 1), names)
    errors.axhline(ERROR_AIM_YEARS, color="grey", linestyle=":", label=f"aim with {SIZES[0]} heads")
    errors.set(ylabel="mean error, years", title="one value a split")
    errors.legend()
    figure.savefig(path, dpi=110)


def _ages_and_estimates(heads: list[CalibrationHead]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([head.age_years for head in heads]), np.array([head.sighting.estimate_years for head in heads])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("MED3D_TEST_DATA"), help="holds ds002748")
    parser.add_argument("--cache", type=Path, help="tensors are kept here, so that another model's trial takes seconds")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--report", type=Path, help=f"folder for {PAGE}.md and {PICTURE} (matplotlib)")
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of the sample data: --data, or MED3D_TEST_DATA")
    model = load_model(BundleSettings(), prove=False)
    if DATASET in model.cohort.name:
        parser.error(f"{model.reference.name} has learned from {DATASET}: set MED3D_BUNDLE to one that has not")
    heads = look_at(model, Path(given.data), given.cache)
    found = {size: splits(model, heads, size, given.splits) for size in SIZES}
    told = report(model, heads, found)
    print(f"{machine()}\n{told}")
    if given.report:
        given.report.mkdir(parents=True, exist_ok=True)
        draw(heads, found, given.report / PICTURE)
        (given.report / f"{PAGE}.md").write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
