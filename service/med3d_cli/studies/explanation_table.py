"""An explanation as a table that a person can read."""

from rich.table import Table

from med3d_contract.explanations import Explanation


def explanation_table(found: Explanation) -> Table:
    """Return years by region, the one that matters most first, and what the decoder does to the ventricles."""
    table = Table(
        title=_title(found), title_justify="left", caption=found.sentence, caption_justify="left", pad_edge=False
    )
    table.add_column("region", overflow="fold")
    table.add_column("adds, years", justify="right")
    table.add_column("usual spread", justify="right")
    if found.shares:
        for one in sorted(found.shares.regions, key=lambda share: -abs(share.years)):
            table.add_row(one.region, f"{one.years:+.1f}", f"{one.usual_spread_years:.1f}")
        table.add_row("no region alone", f"{found.shares.rest_years:+.1f}", "")
        table.add_section()
        table.add_row("gap, age bias removed", f"{found.shares.total_years:+.1f}", "")
    else:
        table.add_row("this model's bundle holds no table of regions", "", "")
    if found.ventricles_ml:
        table.add_section()
        step, volumes = f"{found.step_years:.0f} years", found.ventricles_ml
        for words, millilitres in (
            (f"ventricles, {step} younger", volumes.younger),
            ("ventricles, this head", volumes.now),
            (f"ventricles, {step} older", volumes.older),
        ):
            table.add_row(words, f"{millilitres:.0f} ml", "")
    return table


def _title(found: Explanation) -> str:
    if not found.shares:
        return "explanation"
    age = found.shares.age_years
    beside = "of the training heads' mean age: none is known" if age is None else f"of {age:.1f} years"
    return f"explanation: what adds years, beside heads {beside}"
