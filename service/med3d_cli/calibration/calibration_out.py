"""Where a calibration goes: looked at before minutes go into heads, and written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from med3d_pipeline.calibration.site_calibration import SiteCalibration

PAGE_TITLE = "Calibration for "
MOST_BYTES = 4 * 2**20
_FIELDS = frozenset({"format", "site", "bundle", "latent_shift", "residuals_years"})


def page_path(out: Path) -> Path:
    """Tell where the page beside the calibration ``out`` lies."""
    return out.with_name(f"{out.name.removesuffix('.json')}.html")


def check_out(out: Path, kept: Iterable[Path]) -> None:
    """Raise CommandError where the calibration could not be written, or would replace what is no older one.

    kept: files that are read, which nothing may replace.
    """
    with extra("worker"):
        from med3d_pipeline.bundle.bundle_signature import signature_path
    if out.suffix != ".json" or out.name == ".json":
        raise CommandError("--out must end in .json, such as site_calibration.json", exit_code=2)
    if not out.parent.is_dir():
        raise CommandError(f"the folder of {out.name} (--out) does not exist; make it first")
    if not os.access(out.parent, os.W_OK):
        raise CommandError(f"the folder of {out.name} (--out) cannot be written to")
    written = (out, signature_path(out), page_path(out))
    read = {path.resolve() for path in kept}
    for path in written:
        if path.resolve() in read:
            raise CommandError(f"--out would replace {path.name}, which is read; choose another name")
    taken = [path for path, ours in zip(written, (_is_calibration, _is_signature, _is_page), strict=True)
             if (path.exists() or path.is_symlink()) and not ours(path)]  # fmt: skip
    if taken:
        raise CommandError(f"{taken[0].name} is there and is no calibration's; choose another name for --out")


def write_all(out: Path, calibration: "SiteCalibration", key: "Ed25519PrivateKey | None", page: bytes) -> list[Path]:
    """Write and sign aside, then put calibration, signature and page in place; return them. Raises CommandError."""
    from med3d_pipeline.bundle.bundle_signature import signature_path
    from med3d_pipeline.calibration.files import write_calibration

    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".calibration-") as folder:
            aside = Path(folder, out.name)
            write_calibration(aside, calibration, key)
            page_path(aside).write_bytes(page)
            signature_path(out).unlink(missing_ok=True)  # an older one's; in between workers load neither
            written = [path for path in (out, signature_path(out), page_path(out)) if Path(folder, path.name).exists()]
            for path in written:
                Path(folder, path.name).replace(path)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error
    return written


def _is_calibration(path: Path) -> bool:
    try:
        said = json.loads(_beginning(path))
    except ValueError:
        return False
    return isinstance(said, dict) and said.keys() >= _FIELDS


def _is_signature(path: Path) -> bool:
    return _is_calibration(path.with_name(path.name.removesuffix(".sig")))


def _is_page(path: Path) -> bool:
    return f"<title>{PAGE_TITLE}".encode() in _beginning(path)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return b""
