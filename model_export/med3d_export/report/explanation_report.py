"""docs/model/explanations.md: what explanations of a bundle rest on, in figures."""

from collections.abc import Sequence
from pathlib import Path

from med3d_export.explaining.trial import AIMED_SHARE, SHUFFLES, STEPS_YEARS, ExplanationTrial
from med3d_export.report.tables import table
from med3d_export.result_files import write_json


def write_explanations(found: ExplanationTrial, folder: Path) -> Path:
    """Write explanations.json and explanations.md into ``folder``; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(found, folder / "explanations.json")
    page = folder / "explanations.md"
    page.write_text(explanation_text(found), encoding="utf-8")
    return page


def explanation_text(found: ExplanationTrial) -> str:
    """Return the page in Markdown."""
    growth = found.growth
    steps = ", ".join(f"{step:+.0f}" if step else "0" for step in STEPS_YEARS)
    rows = [
        [one.name, f"{one.years_in_ten:+.2f}", f"{one.spread_years:.2f}", _of_shuffles(one.randomised_r)]
        for one in found.regions
    ]
    verdict = "reached" if growth.is_as_aimed else "**missed**"
    left, gaps = f"{found.rest_sd_years:.1f}", f"{found.gap_sd_years:.1f}"
    return f"""# Explanations of {found.bundle}

Bundle `{found.digest[:12]}`, on the {growth.heads} heads that it was trained on; what is meant is said in
[explanations](../explanations.md). Made by `med3d-export explanations`.

## The ventricles grow

Voxels darker than midway between ventricles and white matter, where a tenth of the labelled heads has ventricles, of a
head made {steps} years older. Aim: growth at every step in {AIMED_SHARE:.0%} of the heads.

| | |
|---|---|
| heads whose ventricles grow at every step | **{growth.growing_share:.1%}** ({verdict}) |
| growth in 10 years, as the decoder draws it | {growth.drawn_ml:.1f} ml |
| the same among people, who differ in age | {growth.cohort_ml:.1f} ml |
| change of brightness in their core in 10 years, of that from fluid to white matter | {growth.core_change:+.1%} |

The core is what is fluid in nine of ten heads: it can change brightness and cannot grow.

## Years by region

Years per 10 years of age and their spread among heads of one age. The last column is a sanity check (Adebayo et al.,
NeurIPS 2018): how a group's years go, over {found.randomised_heads} heads, with those of an encoder whose weights
were shuffled, mean of {SHUFFLES} shuffles (lowest to highest). A table that came from the picture alone would stay as
it is, near 1 with each of them; a shuffled encoder may read how large a region is, either way about.

{table(("region", "years in 10 years", "spread, years", "r with shuffled weights"), rows)}

Of how gaps of one age differ (SD {gaps} years) the regions leave {left} years to none of them alone.
These heads are those that the model has learned from, and their gaps are smaller than those of others.
"""


def _of_shuffles(found: Sequence[float]) -> str:
    return f"{sum(found) / len(found):+.2f} ({min(found):+.2f} to {max(found):+.2f})"
