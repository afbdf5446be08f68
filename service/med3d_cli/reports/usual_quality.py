"""What measures of quality usually are: quantiles over good heads, measured once and kept beside the program."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from med3d_cli.reports.strips import Usual


@dataclass(frozen=True)
class UsualQuality:
    """heads: how many; whose: words for people. measures: by name."""

    heads: int
    whose: str
    measures: Mapping[str, Usual]


def usual_quality(bundle: str) -> UsualQuality | None:
    """Return what good heads of the training cohort measure by the networks of ``bundle``; None for another model."""
    said = json.loads(files("med3d_cli.reports").joinpath("usual_quality.json").read_text(encoding="utf-8"))
    if said["bundle"] != bundle:
        return None
    measures = {name: Usual(tuple(quantiles)) for name, quantiles in said["quantiles"].items()}
    return UsualQuality(said["heads"], said["whose"], measures)
