"""What 20 heads of a scanner that the model has not learned from are worth to its other heads.

PYTHONPATH=tests python -m bench.bench_calibration [--data FOLDER] [--cache FOLDER] [--splits 100]
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


def splits(model: LoadedModel, heads: list[CalibrationHead], size: int, count: int) -> list[tuple[str, ...]]:
    """Rows: without and with calibration on ``size`` heads at random, tried on all others, ``count`` times."""
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
    return [_row(name, len(heads) - size, np.array(values)) for name, values in found.items()]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("MED3D_TEST_DATA"), help="holds ds002748")
    parser.add_argument("--cache", type=Path, help="tensors are kept here, so that another model's trial takes seconds")
    parser.add_argument("--splits", type=int, default=100)
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of the sample data: --data, or MED3D_TEST_DATA")
    model = load_model(BundleSettings(), prove=False)
    if DATASET in model.cohort.name:
        parser.error(f"{model.reference.name} has learned from {DATASET}: set MED3D_BUNDLE to one that has not")
    heads = look_at(model, Path(given.data), given.cache)
    ages, estimates = (
        np.array([head.age_years for head in heads]),
        np.array([head.sighting.estimate_years for head in heads]),
    )
    print(machine())
    print(
        f"{model.reference.name} {model.reference.version} ({model.reference.digest[:12]}), {len(heads)} heads, "
        f"correlation of estimate and age {np.corrcoef(ages, estimates)[0, 1]:.2f}, {given.splits} random splits"
    )
    rows = [row for size in SIZES for row in splits(model, heads, size, given.splits)]
    print(table(HEADER, rows))
    print(f"aims with 20 heads: mean error at most {ERROR_AIM_YEARS} years, far from training at most {FAR_AIM:.0%}")


if __name__ == "__main__":
    main()
