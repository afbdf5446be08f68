"""How well spoilt heads and non-heads are told from good ones, as a page."""

from collections.abc import Sequence
from pathlib import Path

from med3d_export.evaluation.shift_scores import ALL_TOGETHER, FALSE_REVIEW_RATE, AgeUnderShift, ShiftResult
from med3d_export.report.page import write_page
from med3d_export.report.tables import table
from med3d_export.result_files import write_json

SCORES = {
    "distance": "Mahalanobis",
    "neighbours": "5 neighbours",
    "residual": "reconstruction residual",
    ALL_TOGETHER: "largest of the three",
}
TELLS = 0.9


def write_shifts(results: Sequence[ShiftResult], folder: Path) -> Path:
    """Write shifts.json, report.md and report.html into ``folder``; returns the HTML's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(tuple(results), folder / "shifts.json")
    return write_page(shift_text(results), folder)[1]


def shift_text(results: Sequence[ShiftResult]) -> str:
    """Return the page in Markdown."""
    gate = table(
        ("what", "heads", "refused by the quality gate", "marked by it", "stopped or marked by anything"),
        [
            [one.name, str(one.heads), _refusals(one), str(one.marked), f"{one.stopped:.0%}"]
            for one in results
        ],
    )  # fmt: skip
    auroc = table(("what", *SCORES.values()), [[one.name, *_figures(one.auroc, "{:.2f}")] for one in results])
    flagged = table(("what", *SCORES.values()), [[one.name, *_figures(one.flagged, "{:.0%}")] for one in results])
    ages = table(
        ("what", "heads with a tensor", "estimate moves by, years (SD)", "MAE", "MAE of the same, unchanged",
         "passing", "MAE of these"),
        [[one.name, *_age(one.age)] for one in results if one.age is not None],
    )  # fmt: skip
    measures = table(
        ("what", f"quality measures that tell at least {TELLS:.2f}"),
        [[one.name, _telling(one)] for one in results if one.measure_auroc],
    )
    return f"""# Heads that are not like the training heads

Held-out heads were spoilt one way at a time, went through preprocessing and the quality gate, and were scored by the
model of the fold that had not seen their subject. A study taken as it is was scored by every fold's model of the first
repeat and counts once for each.

## What becomes of them

The last column counts heads that the gate refuses or marks, or whose Mahalanobis distance exceeds the limit that
{FALSE_REVIEW_RATE:.0%} of good held-out heads exceed. What a series' header
alone says has no part in this: slices more than 3 mm apart are refused before any voxel is looked at
(`through_plane_too_coarse`).

{gate}

## What becomes of the age

Whatever the gate says of the head; passing: heads that nothing refuses or marks.

{ages}

## Quality measures

Area under the ROC curve of each measure of the gate, of spoilt heads against the same heads unchanged, whichever way it
moves; with this many heads and measures one above 0.9 may be chance where it stands alone.

{measures}

## Area under the ROC curve

Against all good held-out heads, each scored by the fold that tested it. Only heads that preprocessing gave a tensor,
whatever the gate said of them. 0.5: the score cannot tell; below: the shift makes heads more ordinary.

{auroc}

## Share beyond the limit that {FALSE_REVIEW_RATE:.0%} of good held-out heads exceed

{flagged}
"""


def _age(one: AgeUnderShift) -> list[str]:
    passing = f"{one.passing_mae:.1f}" if one.passing else ""
    moved = f"{one.moved:+.1f} ({one.moved_sd:.1f})"
    return [str(one.heads), moved, f"{one.mae:.1f}", f"{one.unchanged_mae:.1f}", str(one.passing), passing]


def _telling(one: ShiftResult) -> str:
    best = sorted(one.measure_auroc.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {value:.2f}" for name, value in best if value >= TELLS) or "none"


def _refusals(one: ShiftResult) -> str:
    return ", ".join(f"{count} {code}" for code, count in sorted(one.refused.items())) or "0"


def _figures(found: dict[str, float], form: str) -> list[str]:
    return [form.format(found[name]) if name in found else "no tensor" for name in SCORES]
