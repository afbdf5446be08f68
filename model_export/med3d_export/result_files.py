"""Results as files that other programs read: one JSON per report, one CSV row per prediction."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from med3d_export.evaluation.baseline_rows import BaselineEstimates
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.subjects.labels import Labels


def write_json(report: Any, path: Path) -> None:
    """Return a report dataclass, or a sequence of them, with all that it holds; what is not finite becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(TypeAdapter(Any).dump_json(report, indent=1) + b"\n")


def write_predictions(found: HeldOut, baselines: BaselineEstimates, labels: Labels, path: Path) -> None:
    """Return one row per repeat and subject that was tested in it.

    Estimates in years, SDMT in points, empty where unknown.
    """
    estimates = {"brain_age": found.age, **{f"baseline: {name}": values for name, values in baselines.age.items()}}
    estimates |= {"sdmt": found.sdmt, "distance": found.distance}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["repeat", "participant_id", "age", "sex", "site", *estimates])
        for repeat, row in np.argwhere(np.isfinite(found.age)):
            known = [labels.subjects[row], f"{labels.ages_years[row]:.4g}", labels.sexes[row], labels.sites[row]]
            values = [array[repeat, row] for array in estimates.values()]
            writer.writerow([repeat + 1, *known, *(f"{value:.4f}" if np.isfinite(value) else "" for value in values)])
