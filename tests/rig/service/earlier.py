"""What earlier releases left behind, made as they made it."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from med3d_service.storage.keys import derive


def sealed_nameless(path: Path, plaintext: bytes, key: bytes) -> None:
    """Seal a file as releases up to 0.2.0 did: in one chunk, bound to no name."""
    salt = os.urandom(16)
    nonce = (0).to_bytes(11, "big") + b"\1"
    chunk = AESGCM(derive(key, "sealed-file", salt)).encrypt(nonce, plaintext, b"M3DSEAL1")
    path.write_bytes(b"M3DSEAL1" + salt + chunk)
