"""`med3d bundle`: bring a model bundle, look at it, prove it on this machine, vouch for it."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.ending import ends_in_order
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.operate.bundle_source import fetch_bundle
from med3d_cli.screens import AsJson, answer, print_json

if TYPE_CHECKING:
    from med3d_pipeline.bundle.bundle import Bundle

BundleDir = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False)]
StatedBundleDir = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Default: the model that runs use here."),
]


def bundle_commands() -> typer.Typer:
    """`med3d bundle` get, verify, show, keygen, sign."""
    group = typer.Typer(
        help="Model bundles: bring one, show what it says of itself, verify it here, sign it.", no_args_is_help=True
    )
    for command in (get, verify, show, keygen, sign):
        group.command()(command)
    return group


def get(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Folder, .tar.gz, .tar or .zip; or the https, s3 or file URL of one."),
    ],
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the bundle's folder NAME-VERSION is made.", file_okay=False)
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Bring a model bundle, and keep it only if it is whole, signed, and gives its reference case on this machine.

    Trusted are the keys that the project ships, or those of MED3D_BUNDLE_KEYS.
    """
    with extra("worker"):
        require_onnx_runtime()
    try:
        into.mkdir(parents=True, exist_ok=True)
        with _scratch_in(into) as scratch:
            copy = _copy_listed(fetch_bundle(source, scratch), scratch / "copy")
            bundle = _open(copy, trusted_only=True)
            kept = into.resolve() / f"{bundle.name}-{re.sub(r'[^A-Za-z0-9.+_-]', '-', bundle.version)}"
            is_there = _is_there(kept, bundle)
            report = _proven(bundle)
            if not is_there:
                _keep(copy, kept, bundle)
    except OSError as error:
        place = error.filename2 or error.filename or into
        raise CommandError(f"{place}: {error.strerror}; nothing was kept") from error
    if as_json:
        print_json(_described(bundle, report) | {"folder": kept})
        return
    typer.echo(f"{kept}")
    _print_proof(bundle, report)
    typer.echo(f"to use it: MED3D_BUNDLE={kept}")


def verify(folder: StatedBundleDir = None, as_json: AsJson = False) -> None:
    """Check every file's digest, who signed it, and that the reference case comes out the same on this machine.

    Trusted are the keys that the project ships, or those of MED3D_BUNDLE_KEYS.
    """
    bundle = _open(folder, trusted_only=True)
    report = _proven(bundle)
    if as_json:
        print_json(_described(bundle, report))
        return
    _print_proof(bundle, report)


def show(folder: StatedBundleDir = None, as_json: AsJson = False) -> None:
    """Return what the model is, what it learned from, how well it does, what it is not for."""
    bundle = _open(folder)
    manifest = bundle.manifest
    if as_json:
        print_json({"digest": bundle.digest, "manifest": manifest})
        return
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


def keygen(
    path: Annotated[Path, typer.Argument(metavar="KEY.pem", help="The new private key; KEY.pub.pem goes beside it.")],
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 key to sign bundles with. The private half signs; whoever loads bundles needs the public one."""
    with extra("worker"):
        from med3d_pipeline.bundle.bundle_signature import make_signing_key
    try:
        public = make_signing_key(path)
    except FileExistsError as error:
        raise CommandError(f"{error.filename} is there already; no key was made") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); no key was made") from error
    answer(
        f"{path}: keep it secret, apart from the bundles\n{public}: give it to whoever loads them",
        {"private_key": path, "public_key": public},
        as_json=as_json,
    )


def sign(
    folder: BundleDir,
    key: Annotated[Path, typer.Option(help="The private key (PEM), as `keygen` writes it.", dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Vouch for a bundle: check every digest, then sign its manifest. A signature that is there is replaced."""
    bundle = _open(folder)
    from med3d_pipeline.bundle.bundle_signature import read_signing_key, sign_bundle
    from med3d_pipeline.errors import BundleError

    try:
        signature = sign_bundle(folder, read_signing_key(key))
    except BundleError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"the signature cannot be written: {error.strerror}") from error
    answer(
        f"{bundle.name} {bundle.version} ({bundle.digest[:12]}): {signature}",
        {"name": bundle.name, "version": bundle.version, "digest": bundle.digest, "signature": signature},
        as_json=as_json,
    )


@contextmanager
def _scratch_in(folder: Path) -> Iterator[Path]:
    """Give a folder of one's own that is gone afterwards, by SIGTERM, too."""
    with ends_in_order(), tempfile.TemporaryDirectory(prefix=".med3d-bundle-", dir=folder) as scratch:
        yield Path(scratch)


def _copy_listed(folder: Path, copy: Path) -> Path:
    """Copy what the manifest lists, and no more. Raises CommandError where a file is absent or no file."""
    listed = _open(folder, verify=False).manifest.files
    from med3d_pipeline.bundle.bundle_signature import SIGNATURE
    from med3d_pipeline.inference.manifest import MANIFEST

    signed = (SIGNATURE,) if (folder / SIGNATURE).is_file() else ()
    for name in (MANIFEST, *signed, *listed):
        if not (folder / name).is_file():
            raise CommandError(f"{name} of the bundle is not there; nothing was kept")
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, copy / name)
    return copy


def _is_there(kept: Path, bundle: "Bundle") -> bool:
    """Tell whether the same bundle, whole and signed, is in its place. Raises CommandError where something else is."""
    if not (kept.exists() or kept.is_symlink()):
        return False
    way_out = "move it away, or say --into FOLDER"
    try:
        found = _open(kept, trusted_only=True).digest
    except CommandError as error:
        raise CommandError(f"{kept} is there and is no whole and signed bundle; {way_out} ({error})") from error
    if found != bundle.digest:
        raise CommandError(f"{kept} is another bundle; {way_out}")
    return True


def _keep(copy: Path, kept: Path, bundle: "Bundle") -> None:
    """Bring the copy to its place; where the same bundle came there meanwhile, that is as good."""
    try:
        copy.rename(kept)
    except OSError:
        if not _is_there(kept, bundle):
            raise


def _described(bundle: "Bundle", report: dict[str, float]) -> dict[str, Any]:
    about = {"name": bundle.name, "version": bundle.version, "digest": bundle.digest}
    return about | {"signed_by": bundle.signed_by, "providers": bundle.providers, "reference_case": report}


def _print_proof(bundle: "Bundle", report: dict[str, float]) -> None:
    typer.echo(f"{bundle.name} {bundle.version}: {len(bundle.manifest.files)} files have their digests")
    typer.echo(f"signed by the key {bundle.signed_by}" if bundle.signed_by else "NOT CHECKED who signed it (settings)")
    typer.echo(f"reference case within tolerances on {', '.join(bundle.providers)}:")
    for name, difference in report.items():
        typer.echo(f"  {name.replace('_', ' ')} {difference:.2g}")


def _open(folder: Path | None, *, trusted_only: bool = False, verify: bool = True) -> "Bundle":
    with extra("worker"):
        require_onnx_runtime()
        from med3d_pipeline.bundle.bundle import Bundle
        from med3d_pipeline.errors import BundleError
        from med3d_worker.settings import BundleSettings
    settings = BundleSettings()
    try:
        trusted = settings.trusted_keys() if trusted_only else None
        path = folder or Bundle.default_path()
        return Bundle.open(path, settings.provider, settings.threads, verify=verify, trusted=trusted)
    except BundleError as error:
        raise CommandError(str(error)) from error


def _proven(bundle: "Bundle") -> dict[str, float]:
    """Tell how far off each part of the reference case came out."""
    from med3d_pipeline.errors import BundleError

    try:
        return {name: value for name, value in asdict(bundle.run_reference_case()).items() if value is not None}
    except BundleError as error:
        raise CommandError(str(error)) from error
