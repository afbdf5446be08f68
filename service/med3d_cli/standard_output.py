"""What commands print, where it goes to a file on a full disk or the like."""

import io
import os
import sys
from typing import cast

from med3d_cli.errors import CommandError


class OutputError(CommandError):
    """Nothing more can be written to stdout."""


class _StandardOutput(io.TextIOWrapper):
    """Stdout whose faults are no traceback; a pipe that nobody reads any more is left to click."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _fault(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _fault(error) from error


def watch_output() -> None:
    """Have what is printed from now on raise OutputError where it cannot be written."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # None where it is closed
        said = sys.stdout
        sys.stdout = _StandardOutput(
            cast("io.BufferedWriter", said.buffer), said.encoding, said.errors, line_buffering=said.line_buffering
        )


def drop_output() -> None:
    """Send to nowhere what could not be written: the interpreter tries again at its end, and would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _fault(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return OutputError(f"what is printed cannot be written: {error.strerror}")
