"""What measures of quality usually are: quantiles over good heads, measured by `make usual-quality` for one bundle."""

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


def usual_quality(bundle_digest: str) -> UsualQuality | None:
    """Return what good heads of the training cohort measure by this very bundle; None for any other, also a near one.

    Another bundle's networks and bias field measure otherwise, so its heads are no yardstick.
    """
    said = json.loads(files("med3d_cli.reports").joinpath("usual_quality.json").read_text(encoding="utf-8"))
    if said["bundle"]["digest"] != bundle_digest:
        return None
    measures = {name: Usual(tuple(quantiles)) for name, quantiles in said["quantiles"].items()}
    return UsualQuality(said["heads"], said["whose"], measures)
