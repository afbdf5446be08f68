"""`med3d bundle`: look at a model bundle and prove it on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime

if TYPE_CHECKING:
    from med3d_pipeline.bundle import Bundle

BundleDir = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False)]


def bundle_commands() -> typer.Typer:
    """`med3d bundle verify` and `med3d bundle show`."""
    group = typer.Typer(help="Model bundles: show what one says of itself, verify it here.", no_args_is_help=True)
    group.command()(verify)
    group.command()(show)
    return group


def verify(folder: BundleDir) -> None:
    """Check every file's digest, and that the reference case comes out the same on this machine."""
    bundle = _open(folder)
    report = _proven(bundle)
    typer.echo(f"{bundle.name} {bundle.version}: {len(bundle.manifest.files)} files have their digests")
    typer.echo(f"reference case within tolerances on {', '.join(bundle.providers)}: {report}")


def show(folder: BundleDir) -> None:
    """What the model is, what it learned from, how well it does, what it is not for."""
    bundle = _open(folder)
    manifest = bundle.manifest
    table = Table(title=f"{manifest.name} {manifest.version}", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    data = manifest.training_data
    rows = {
        "digest": bundle.digest,
        "description": manifest.description,
        "intended use": manifest.intended_use,
        "limits": "\n".join(manifest.limits),
        "licence": manifest.licence,
        "trained on": f"{data.name}: {data.description} ({data.subjects} subjects; {data.licence}; {data.source})",
        "brain age": manifest.brain_age.evidence,
        "SDMT": manifest.sdmt.evidence if manifest.sdmt else "no head",
        "metrics": "\n".join(f"{name} {value:g}" for name, value in manifest.metrics.items()),
        "software": ", ".join(f"{name} {version}" for name, version in manifest.software.items()),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _open(folder: Path) -> "Bundle":
    with extra("worker"):
        require_onnx_runtime()
        from med3d_pipeline.bundle import Bundle
        from med3d_pipeline.errors import BundleError
        from med3d_worker.settings import BundleSettings
    settings = BundleSettings()
    try:
        return Bundle.open(folder, provider=settings.provider, threads=settings.threads)
    except BundleError as error:
        raise CommandError(str(error)) from error


def _proven(bundle: "Bundle") -> str:
    from med3d_pipeline.errors import BundleError

    try:
        return str(bundle.run_reference_case())
    except BundleError as error:
        raise CommandError(str(error)) from error
