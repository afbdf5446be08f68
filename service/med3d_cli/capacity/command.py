"""The command itself: options in, a table or JSON out, a picture where one is wanted."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.capacity.day import Arrivals, DayShape
from med3d_cli.capacity.measured import MeasuredCosts, read_costs
from med3d_cli.capacity.picture import day_picture, duration
from med3d_cli.capacity.plan import TB, CapacityPlan, Demand, Prices, TooShortError, plan
from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed

SIZES = [100, 10_000, 1_000_000]
Money = Annotated[float, typer.Option(min=0, max=1e9, help="In any currency; together they give the cost a month.")]
LEAST_GPU_MS = 0.01


@dataclass(frozen=True)
class GpuAsked:
    """A GPU is to be planned with. head_s: its time for one head as the user states it, None: as the table has it."""

    head_s: float | None = None


def gpu_asked(said: str) -> GpuAsked:
    """Return what ``--gpu`` says: milliseconds, or the word for what the table has.

    Raises typer.BadParameter for neither.
    """
    if said == "measured":
        return GpuAsked()
    try:
        stated_ms = float(said)
    except ValueError:
        stated_ms = 0.0
    if not LEAST_GPU_MS <= stated_ms < float("inf"):
        wanted = f"give milliseconds for a head, {LEAST_GPU_MS} or more, or 'measured' for the table's GPU"
        raise typer.BadParameter(f"{said!r} is no time: {wanted}")
    return GpuAsked(stated_ms / 1000)


def capacity(
    studies_per_day: Annotated[
        list[int], typer.Option(min=1, max=100_000_000, help="May be given several times.")
    ] = SIZES,
    arrivals: Annotated[
        Arrivals, typer.Option(help="office: most by day; even; night: a cohort that waits when the window opens.")
    ] = "office",
    target_minutes: Annotated[
        float, typer.Option(min=0.01, max=525_600, help="95 % are to be answered within so long.")
    ] = 15.0,
    window_hours: Annotated[float, typer.Option(min=0.1, max=24, help="Of a night; all is to be done in it.")] = 8.0,
    stat_share: Annotated[float, typer.Option(min=0, max=1, help="Of the studies that are stat.")] = 0.01,
    busy_share: Annotated[float, typer.Option(min=0, max=1, help="Of the studies, in the busy hours.")] = 0.7,
    busy_hours: Annotated[float, typer.Option(min=0.1, max=24, help="From eight in the morning.")] = 10.0,
    cpu: Annotated[float, typer.Option(min=0.01, max=1000, help="Speed of your cores; those of the table: 1.")] = 1.0,
    gpu: Annotated[
        GpuAsked | None,
        typer.Option(
            parser=gpu_asked,
            metavar="measured|MILLISECONDS",
            help="Plan with GPUs: the table's, or one of so many ms for a head, which prediction alone is left to.",
        ),
    ] = None,
    study_mb: Annotated[
        float | None, typer.Option(min=0.001, max=1_000_000, help="A study as it is sent; default: as measured.")
    ] = None,
    kept_days: Annotated[
        int, typer.Option(min=1, max=36_500, help="How long studies are kept, for the cost of storage.")
    ] = 365,
    price_core_hour: Money = 0.0,
    price_gpu_hour: Money = 0.0,
    price_tb_month: Money = 0.0,
    measured: Annotated[Path | None, typer.Option(help="Your own table of costs, in place of the shipped one.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the day of the last number of studies here (SVG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Say how many workers, how much memory, disk and money so many studies a day take, by simulating a day."""
    costs = read_costs(measured)
    shape = DayShape(arrivals, stat_share, busy_share, busy_h=busy_hours, window_h=window_hours)
    night = arrivals == "night"
    target_s, share = (window_hours * 3600, 1.0) if night else (target_minutes * 60, 0.95)
    gpu_s, study_bytes = _gpu_head_s(gpu, costs), (None if study_mb is None else study_mb * 1e6)
    shared = gpu == GpuAsked() and costs.gpu is not None and costs.gpu.worker is not None
    prices = Prices(price_core_hour, price_gpu_hour, price_tb_month)
    try:
        with Console(stderr=True).status("simulating"):
            plans = [
                plan(Demand(count, shape, target_s, share, cpu, gpu_s, shared, study_bytes, kept_days), costs, prices)
                for count in studies_per_day
            ]
    except TooShortError as error:
        option = "--window-hours" if night else "--target-minutes"
        said = f"target_too_short: a study alone takes longer than {target_s:g} s: give {option} more"
        raise CommandError(said, exit_code=2) from error
    if as_json:
        typer.echo(json.dumps({"measured": costs.model_dump(), "plans": [asdict(made) for made in plans]}, indent=2))
    else:
        _show(plans, costs, priced=prices != Prices())
    if picture is not None:
        try:
            with placed(picture) as aside:
                aside.write_text(day_picture(plans[-1], costs))
        except OSError as error:
            raise CommandError(f"picture_unwritable: {picture} cannot be written: {error.strerror}") from error


def _show(plans: list[CapacityPlan], costs: MeasuredCosts, *, priced: bool) -> None:
    shared = costs.gpu.worker if costs.gpu is not None and plans[0].demand.gpu_preprocesses else None
    dated, worker = (costs.date, costs.crowded) if costs.gpu is None or shared is None else (costs.gpu.date, shared)
    title = f"Measured {dated}: {worker.study_s:.2f} s of a core for a study of {costs.study.sent / 1e6:.1f} MB"
    shown = Table(title=title, title_justify="left")
    shown.add_column("studies a day")
    for made in plans:
        shown.add_column(f"{made.demand.studies:,}", justify="right")
    for name, cells in rows(plans, priced=priced):
        shown.add_row(name, *cells)
    console = Console(markup=False)  # a table of costs has words of its own
    console.print(shown)
    if plans[0].demand.gpu_s is not None:
        console.print(_gpu_line(plans[0].demand.gpu_s, costs))
    elif costs.gpu is not None:
        console.print(f"Without GPUs; --gpu measured plans with those of the table, measured {costs.gpu.date}.")


def _gpu_head_s(asked: GpuAsked | None, costs: MeasuredCosts) -> float | None:
    """Return seconds of a GPU for one head: as stated, as the table has it, or None where no GPU is asked for."""
    if asked is None or asked.head_s is not None:
        return None if asked is None else asked.head_s
    if costs.gpu is None:
        said = "gpu_not_measured: the table has no GPU's times: measure them with deploy/gpu-check, or give --gpu"
        raise CommandError(f"{said} milliseconds for a head", exit_code=2)
    return costs.gpu.study_s


def _gpu_line(head_s: float, costs: MeasuredCosts) -> str:
    said = f"GPU: {round(1000 * head_s, 2):g} ms for a head"
    if costs.gpu is None:
        return f"{said}, as you said; no GPU has been measured."
    if costs.gpu.study_s != head_s:
        return f"{said}, as you said; measured: {round(1000 * costs.gpu.study_s, 2):g} ms ({costs.gpu.machine})."
    brains = ", brain networks too" if costs.gpu.worker else ""
    return f"{said}{brains}, measured {costs.gpu.date}: {costs.gpu.machine}."


def rows(plans: list[CapacityPlan], *, priced: bool) -> list[tuple[str, list[str]]]:
    """Return the table's rows: a name, and a cell for each plan."""
    gpus = [("GPUs (by the time for a head)", [f"{made.gpus:,}" for made in plans])] if plans[0].gpus else []
    money = [
        ("cost a month, workers always there", [f"{made.cost_month:,.0f}" for made in plans]),
        ("cost a month, workers only while they work", [f"{made.cost_month_if_scaled:,.0f}" for made in plans]),
    ]
    return [
        ("workers, one core and one thread each", [f"{made.workers:,}" for made in plans]),
        *gpus,
        ("couriers", [f"{made.couriers:,}" for made in plans]),
        ("cores for API and scheduler", [f"{made.service_cores:,}" for made in plans]),
        ("answered within: half, 95 %", [_pair(made.answered_s) for made in plans]),
        ("stat study begins within: half, 95 %", [_pair(made.stat_start_s) for made in plans]),
        ("most studies an hour", [f"{made.studies_per_hour:,.0f}" for made in plans]),
        ("workers busy", [f"{100 * made.busy:.0f} %" for made in plans]),
        ("workers' memory, GB", [f"{made.worker_memory_bytes / 1e9:,.1f}" for made in plans]),
        ("Redis memory at most, MB", [f"{made.redis_bytes / 1e6:,.1f}" for made in plans]),
        ("store grows a day, GB", [f"{made.store_bytes_day / 1e9:,.2f}" for made in plans]),
        ("store grows a year, TB", [f"{365 * made.store_bytes_day / TB:,.2f}" for made in plans]),
        ("database grows a day, GB", [f"{made.database_bytes_day / 1e9:,.3f}" for made in plans]),
        ("database grows a year, GB", [f"{365 * made.database_bytes_day / 1e9:,.1f}" for made in plans]),
        *(money if priced else []),
    ]


def _pair(seconds: tuple[float, float]) -> str:
    return ", ".join(duration(value) for value in seconds)
