"""A calibration on disk: site_calibration.json, its Ed25519 signature beside it, and what was withdrawn."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from med3d_pipeline.bundle.bundle_signature import TrustedKeys, sign_file, signature_path
from med3d_pipeline.calibration.refusals import CalibrationCode, CalibrationRefused
from med3d_pipeline.calibration.site_calibration import SiteCalibration

REVOKED = "revoked.txt"
"""Beside the trusted keys, for whoever can replace a calibration should not be able to bring one back."""
_MOST_BYTES = 4 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredCalibration:
    """A calibration as read. digest: sha256 of its file; signed_by: None where no signature was asked for."""

    calibration: SiteCalibration
    digest: str
    signed_by: str | None


def write_calibration(path: Path, calibration: SiteCalibration, key: Ed25519PrivateKey | None) -> None:
    """Write the file and sign it with ``key``; the signature of an older one goes first. Raises OSError.

    Where somebody may read it meanwhile, write it aside.
    """
    signature_path(path).unlink(missing_ok=True)
    path.write_text(calibration.to_json(), encoding="utf-8")
    if key is not None:
        sign_file(path, key)


def read_calibration(path: Path, trusted: TrustedKeys | None, revoked: Collection[str] = ()) -> StoredCalibration:
    """Read a calibration that one of the ``trusted`` keys signed; None: whoever made it.

    revoked: digests of those that were withdrawn. Raises CalibrationRefused. One that has expired is read: answers
    say so.
    """
    content = _content(path)
    return parse_calibration(path.name, content, None if trusted is None else _signature(path), trusted, revoked)


def parse_calibration(
    name: str, content: bytes, signature: bytes | None, trusted: TrustedKeys | None, revoked: Collection[str] = ()
) -> StoredCalibration:
    """Read the bytes of a calibration as ``read_calibration`` does; ``name`` is for its refusals."""
    digest = hashlib.sha256(content).hexdigest()
    if digest in revoked:
        raise CalibrationRefused(
            CalibrationCode.REVOKED,
            f"The calibration {name} has been withdrawn ({digest[:12]} in {REVOKED}). Calibrate the site anew.",
        )
    signed_by = None if trusted is None else _signer(name, content, signature or b"", trusted)
    try:
        calibration = SiteCalibration.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CalibrationRefused(
            CalibrationCode.UNREADABLE,
            f"{name} is no site calibration of this release: {where}: {first['msg']}. Make it with med3d calibrate.",
        ) from error
    return StoredCalibration(calibration, digest, signed_by)


def require_bundle(calibration: SiteCalibration, bundle_digest: str) -> None:
    """Raise CalibrationRefused where it was fitted to another bundle than the one in use."""
    if calibration.bundle.digest == bundle_digest:
        return
    made = calibration.bundle
    raise CalibrationRefused(
        CalibrationCode.OTHER_BUNDLE,
        f"The calibration for {calibration.site} was made with the model {made.name} {made.version} "
        f"({made.digest[:12]}), not with the one in use ({bundle_digest[:12]}), whose estimates differ. Calibrate the "
        "site with this model.",
    )


def read_revoked(keys: Path | None) -> frozenset[str]:
    """Return the digests of ``revoked.txt`` in the folder of trusted keys: one a line, ``#`` begins a remark.

    A line may be as ``sha256sum`` writes it, or have ``sha256:`` before the digest. Raises CalibrationRefused where
    the list is there and cannot be read, or a line begins with no digest: passed over, it would leave in use what
    somebody withdrew.
    """
    if keys is None:
        return frozenset()
    path = (keys if keys.is_dir() else keys.parent) / REVOKED
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows' editors put a byte order mark first
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationRefused(
            CalibrationCode.UNREADABLE, f"{REVOKED} beside the trusted keys cannot be read. Mend or remove it."
        ) from error
    stated = ((number, line.split("#")[0].split()) for number, line in enumerate(lines, start=1))
    return frozenset(_revoked_digest(number, words[0]) for number, words in stated if words)


def _revoked_digest(line_number: int, word: str) -> str:
    digest = word.casefold().removeprefix("sha256:")
    if _SHA256.fullmatch(digest) is None:
        raise CalibrationRefused(
            CalibrationCode.UNREADABLE,
            f"Line {line_number} of {REVOKED} beside the trusted keys does not begin with a sha256 (64 digits of 0-9 "
            "and a-f), so it is not known what it withdraws. Write the line as sha256sum prints it, or # before a "
            "remark.",
            {"line": line_number},
        )
    return digest


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CalibrationRefused(
            CalibrationCode.UNREADABLE, f"The calibration {path.name} cannot be read: {error.strerror}."
        ) from error
    if len(content) > _MOST_BYTES:
        raise CalibrationRefused(CalibrationCode.UNREADABLE, f"{path.name} is too large for a site calibration.")
    return content


def _signature(path: Path) -> bytes:
    signature = signature_path(path)
    try:
        return signature.read_bytes()
    except OSError as error:
        raise CalibrationRefused(
            CalibrationCode.UNSIGNED,
            f"The calibration {path.name} has no signature that can be read ({signature.name}). {_WAY_OUT}",
        ) from error


def _signer(name: str, content: bytes, signature: bytes, trusted: TrustedKeys) -> str:
    found = trusted.signer(content, signature)
    if found is None:
        raise CalibrationRefused(
            CalibrationCode.SIGNATURE_INVALID,
            f"No trusted key ({', '.join(trusted.keys)}) made the signature of {name}, or the file was changed "
            f"since. {_WAY_OUT}",
        )
    return found


_WAY_OUT = (
    "Make it with med3d calibrate --key, trust its maker's key (MED3D_CALIBRATION_KEYS), or load it as it is "
    "(MED3D_ALLOW_UNTRUSTED_CALIBRATION=true)."
)
