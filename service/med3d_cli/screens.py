"""Where commands print: as wide as the terminal, and in pipes and files so wide that nothing is cut."""

import json
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

PLAIN_COLUMNS = 200
"""Wide enough that nothing is cut where nobody looks at a terminal."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the API answers, in place of text.")]


def table_console() -> Console:
    """Return the console for tables on stdout."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_COLUMNS)


def answer(text: str, said: Any, *, as_json: bool) -> None:
    """Print what was done, as a line for people or as JSON for programs."""
    if as_json:
        print_json(said)
    else:
        typer.echo(text)


def print_json(said: Any) -> None:
    """Print values of the API, or lists and objects of them, as JSON."""
    typer.echo(json.dumps(said, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
