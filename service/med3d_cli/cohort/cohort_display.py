"""A cohort's progress as people watch it."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from med3d_contract.cohorts import CohortProgress, MemberCounts

STATES = tuple(MemberCounts.model_fields)
BAR_WIDTH = 60


def progress_panel(progress: CohortProgress) -> Panel:
    """Return counts by state, rate, time left, the slowest stage, and problems by code."""
    counts = progress.members
    parts: list[RenderableType] = [_bar(progress), _states(counts)]
    if progress.slowest_stage:
        slowest = next(stage for stage in progress.stages if stage.stage == progress.slowest_stage)
        parts.append(Text(f"slowest stage: {slowest.stage}, {slowest.mean_s:.2f} s on average"))
    if not progress.workers and counts.ended < counts.all:
        parts.append(Text("no live worker carries this bundle", style="bold red"))
    if progress.problems:
        parts.append(_problems(progress))
    named = f"{progress.cohort}, {progress.bundle.name} {progress.bundle.version}"
    return Panel(Group(*parts), title=f"{named}: {progress.status or 'not begun'}", title_align="left", expand=False)


def in_words(seconds: float) -> str:
    """Write it as in ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _bar(progress: CohortProgress) -> Table:
    counts = progress.members
    rows = Table.grid()  # a bar alone does not end its line
    rows.add_row(ProgressBar(total=max(counts.all, 1), completed=counts.ended, width=BAR_WIDTH))
    rows.add_row(f"{counts.ended} of {counts.all} done{_pace(progress)}")
    return rows


def _pace(progress: CohortProgress) -> str:
    pace = f", {progress.rate_per_s:.2f} a second" if progress.rate_per_s else ""
    return pace + (f", about {in_words(progress.seconds_left)} left" if progress.seconds_left is not None else "")


def _states(counts: MemberCounts) -> Table:
    table = Table(box=None, pad_edge=False)
    shown = [state for state in STATES if getattr(counts, state)]
    for state in shown:
        table.add_column(state, justify="right")
    table.add_row(*(str(getattr(counts, state)) for state in shown))
    return table


def _problems(progress: CohortProgress) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("without a number", "", "members", "among them"):
        table.add_column(name, overflow="fold")
    for problem in progress.problems:
        some = ", ".join(problem.study_ids[:2])
        table.add_row(problem.status, problem.code, str(problem.count), some)
    return table
