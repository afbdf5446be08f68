"""A file that is there whole or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from med3d_cli.errors import CommandError


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """Give a path beside ``out``, of the same ending, to write to; what is whole is put in place, else taken away."""
    aside = out.with_name(f".part-{out.name}")
    try:
        yield aside
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(out: Path, pieces: Iterable[bytes]) -> None:
    """Write ``out`` from its pieces. Raises CommandError."""
    try:
        with placed(out) as aside, aside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {os.strerror(error.errno or 0)}") from error


def save(out: Path, pieces: Iterable[bytes], *, said_on_stderr: bool = False) -> None:
    """Write ``out`` from its pieces, and say so. Raises CommandError."""
    write_whole(out, pieces)
    typer.echo(f"{out}", err=said_on_stderr)
