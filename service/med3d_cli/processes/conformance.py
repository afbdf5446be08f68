"""`med3d pacs conformance`: the papers that a hospital asks for, written for the release that is installed."""

from pathlib import Path
from typing import Annotated

import typer

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra


def conformance(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Where the two pages go.")] = Path(),
) -> None:
    """Write the DICOM conformance statement and the IHE integration statement (Markdown) into a folder."""
    with extra("service"):
        from med3d_service.results.conformance import write_statements
    try:
        write_statements(folder)
    except OSError as error:
        raise CommandError(f"the statements cannot be written: {error.strerror}") from error
    typer.echo(f"conformance.md and ihe.md lie in {folder}")
