"""`med3d pacs arrivals`: what came in, from whom, what rule matched, and why there is no run or no answer."""

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from med3d_cli.connection import connect
from med3d_cli.screens import table_console
from med3d_contract.arrivals import ArrivalPage, ArrivalReport, TurnedAway


def arrivals(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the last ones first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As GET /arrivals answers.")] = False,
) -> None:
    """Show the studies that came or were announced, and who was turned away."""
    tell(connect().arrivals(limit), as_json=as_json)


def tell(page: ArrivalPage, *, as_json: bool) -> None:
    """Print what GET /arrivals answered."""
    if as_json:
        typer.echo(page.model_dump_json(indent=1))
        return
    console = table_console()
    console.print(_studies((*page.announced, *page.items)))
    if page.turned_away:
        console.print(_callers(page.turned_away))


def _studies(reports: tuple[ArrivalReport, ...]) -> Table:
    columns = ("last", "from", "to", "way", "instances", "rules", "state", "run")
    table = Table(*columns, title="Studies", title_justify="left")
    for one in reports:
        sender = f"{one.ae_title}@{one.address}" if one.address else one.ae_title
        count = str(one.instances) if one.expected is None else f"{one.instances} of {one.expected}"
        rules = ", ".join(f"{rule.rule or 'none'}: {rule.instances}" for rule in one.rules)
        row = (_time(one.last_at), sender, one.called_ae_title, one.inlet, count, rules, _state(one), one.run_id or "")
        table.add_row(*(Text(cell) for cell in row))
    return table


def _callers(callers: tuple[TurnedAway, ...]) -> Table:
    table = Table("last", "from", "reason", "times", title="Turned away", title_justify="left")
    for one in callers:
        table.add_row(*map(Text, (_time(one.last_at), f"{one.ae_title}@{one.address}", one.reason, str(one.count))))
    return table


def _state(one: ArrivalReport) -> str:
    until = "" if one.until is None else f" until {_time(one.until)}"
    code = "" if one.code is None else f" ({one.code})"
    return f"{one.state}{until}{code}: {one.why}"


def _time(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M")
