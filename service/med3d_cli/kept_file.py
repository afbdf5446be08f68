"""A file that is there whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path

import typer

from med3d_cli.errors import CommandError


def save(out: Path, pieces: Iterable[bytes], *, said_on_stderr: bool = False) -> None:
    """Write ``out`` from its pieces, and say so. Raises CommandError."""
    aside = out.with_name(f".{out.name}.part")
    try:
        with aside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        aside.replace(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {os.strerror(error.errno or 0)}") from error
    finally:
        aside.unlink(missing_ok=True)
    typer.echo(f"{out}", err=said_on_stderr)
