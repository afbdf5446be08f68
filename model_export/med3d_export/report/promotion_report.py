"""The comparison with the bundle in place as a page, with a Bland-Altman plot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from med3d_export.releasing.promotion import Agreement, Judgement, Promotion
from med3d_export.report.figures import LINE, MEN, save_figure
from med3d_export.report.page import write_page
from med3d_export.report.tables import interval, table


def write_promotion(
    promotion: Promotion, candidate: Sequence[Judgement], in_place: Sequence[Judgement], folder: Path
) -> Path:
    """Write report.md, report.html and bland_altman.png into ``folder``; returns the HTML's path."""
    figure = _bland_altman(promotion.brain_age, candidate, in_place, folder)
    agreements = {"brain age, years": promotion.brain_age}
    if promotion.sdmt is not None:
        agreements["SDMT, points"] = promotion.sdmt
    text = f"""# {promotion.candidate} in place of {promotion.in_place}

{promotion.heads} heads, {promotion.answered_by_both} answered by both. Where the heads are the candidate's own training
subjects, its errors below are not held out and say nothing of accuracy; agreement and crossings are what this page is
for. Mean absolute error on these heads: candidate {promotion.mae_candidate:.2f}, in place {promotion.mae_in_place:.2f}
years.

## Paired shift and Bland-Altman

Candidate minus bundle in place. Limits of agreement: mean ± 1.96 SD. Slope: of the difference on the mean of the two; 0
where the shift is the same for young and old.

{_agreements(agreements)}

![Bland-Altman]({figure.name})

## Who crosses a threshold

{_crossings(promotion)}
"""
    return write_page(text, folder)[1]


def _agreements(agreements: dict[str, Agreement]) -> str:
    head = ("estimate", "n", "shift (95 % interval)", "SD", "limits of agreement", "slope", "largest difference")
    rows = [
        [
            name, str(one.heads), interval(one.shift), f"{one.sd:.2f}",
            f"{one.lower_limit:.2f} to {one.upper_limit:.2f}", interval(one.slope, 3), f"{one.largest:.2f}",
        ]
        for name, one in agreements.items()
    ]  # fmt: skip
    return table(head, rows)


def _crossings(promotion: Promotion) -> str:
    if not promotion.crossings:
        return "Nobody."
    rows = [[one.head, one.what, one.before, one.after] for one in promotion.crossings]
    share = len({one.head for one in promotion.crossings}) / promotion.heads
    return f"{share:.1%} of the heads.\n\n" + table(("head", "what", "in place", "candidate"), rows)


def _bland_altman(one: Agreement, candidate: Sequence[Judgement], in_place: Sequence[Judgement], folder: Path) -> Path:
    pairs = [
        (new.brain_age_years, old.brain_age_years)
        for new, old in zip(candidate, in_place, strict=True)
        if new.brain_age_years is not None and old.brain_age_years is not None
    ]
    new, old = np.array(pairs).T

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        ends = [min(new.min(), old.min()) - 2, max(new.max(), old.max()) + 2]
        left.plot(ends, ends, color=LINE, linewidth=1)
        left.scatter(old, new, s=14, color=MEN, alpha=0.7, linewidths=0)
        left.set(xlabel="bundle in place, years", ylabel="candidate, years", xlim=ends, ylim=ends, aspect="equal")
        right.scatter((new + old) / 2, new - old, s=14, color=MEN, alpha=0.7, linewidths=0)
        for value, style in ((one.shift.value, "-"), (one.lower_limit, "--"), (one.upper_limit, "--")):
            right.axhline(value, color=LINE, linewidth=1, linestyle=style)
        right.set(xlabel="mean of both, years", ylabel="candidate - in place, years")

    return save_figure(folder / "bland_altman.png", (9.0, 4.0), draw)
