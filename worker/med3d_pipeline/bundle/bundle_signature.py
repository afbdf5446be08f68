"""Who vouches for a bundle: an Ed25519 signature (RFC 8032) over manifest.json, and the public keys that are trusted.

The signature is 64 bytes beside the manifest, over its bytes as they are, so that any Ed25519 tool checks it:
``openssl pkeyutl -verify -rawin -pubin -inkey KEY.pub.pem -in manifest.json -sigfile manifest.json.sig``. The manifest
holds the digest of every other file, so one signature covers the bundle.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.manifest import MANIFEST

SIGNATURE = f"{MANIFEST}.sig"
PUBLIC_SUFFIX = ".pub.pem"
SHIPPED_KEYS = Path(__file__).parent / "trusted_keys"
"""Apart from the bundles: whoever can replace a bundle's folder should not be able to replace what vouches for it."""


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys by the name of their file; a bundle is trusted that any one of them signed."""

    keys: dict[str, Ed25519PublicKey]

    @classmethod
    def read(cls, place: Path | None = None) -> Self:
        """Return one PEM file, or every ``*.pub.pem`` of a folder; default: the keys that the project ships.

        Raises BundleError where there is none, or one is no Ed25519 public key.
        """
        place = place or SHIPPED_KEYS
        files = sorted(place.glob(f"*{PUBLIC_SUFFIX}")) if place.is_dir() else [place]
        if not files:
            raise BundleError(f"no trusted key (*{PUBLIC_SUFFIX}) in {place}")
        return cls({file.name.removesuffix(PUBLIC_SUFFIX): _public_key(file) for file in files})

    def signer(self, content: bytes, signature: bytes) -> str | None:
        """Return the name of the key that made ``signature`` over ``content``; None where it is none of these."""
        for name, key in self.keys.items():
            try:
                key.verify(signature, content)
            except InvalidSignature:
                continue
            return name
        return None

    def require(self, manifest: bytes, folder: Path) -> str:
        """Return the name of the key that signed ``manifest``, by the signature in ``folder``.

        Raises BundleError, its message led by ``bundle_unsigned`` or ``bundle_signature_invalid``.
        """
        try:
            signature = (folder / SIGNATURE).read_bytes()
        except FileNotFoundError as error:
            raise BundleError(f"bundle_unsigned: the bundle has no {SIGNATURE}; {_WAY_OUT}") from error
        except OSError as error:
            raise BundleError(f"{SIGNATURE} of the bundle cannot be read: {error.strerror}") from error
        signer = self.signer(manifest, signature)
        if signer is not None:
            return signer
        known = ", ".join(self.keys)
        raise BundleError(
            f"bundle_signature_invalid: no trusted key ({known}) made the signature of {MANIFEST}; {_WAY_OUT}"
        )


_WAY_OUT = (
    "sign it (med3d bundle sign), trust its maker's key (MED3D_BUNDLE_KEYS), or load it as it is "
    "(MED3D_ALLOW_UNTRUSTED_BUNDLE=true)"
)


def make_signing_key(path: Path) -> Path:
    """Write a new private key to ``path`` (PKCS #8 PEM, mode 0600), its public half beside it, whose path is returned.

    Raises FileExistsError rather than replace a file, OSError where one cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    public = path.with_name(path.name.removesuffix(".pem") + PUBLIC_SUFFIX)
    _write_new(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    try:
        _write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    except OSError:
        public.unlink()
        raise
    return public


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key of an unencrypted PKCS #8 PEM file. Raises BundleError where it is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{path} is no Ed25519 private key in PEM without a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path} holds a private key of another kind than Ed25519")
    return key


def sign_bundle(folder: Path, key: Ed25519PrivateKey) -> Path:
    """Sign the manifest in ``folder``; an older signature is replaced whole. Raises OSError."""
    return sign_file(folder / MANIFEST, key)


def sign_file(path: Path, key: Ed25519PrivateKey) -> Path:
    """Sign ``path``'s bytes in a file of its name and ``.sig``; an older one is replaced whole. Raises OSError."""
    signature = signature_path(path)
    aside = path.with_name(f".{signature.name}.part")
    try:
        aside.write_bytes(key.sign(path.read_bytes()))
        aside.replace(signature)
    finally:
        aside.unlink(missing_ok=True)
    return signature


def signature_path(path: Path) -> Path:
    """Tell where the signature of ``path`` lies."""
    return path.with_name(f"{path.name}.sig")


def _public_key(file: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as error:
        raise BundleError(f"the trusted key {file} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(f"the trusted key {file} is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"the trusted key {file} is of another kind than Ed25519")
    return key


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
