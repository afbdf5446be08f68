"""Digests of what an image shows that are the same in every uncompressed encoding, and of what a codec restored."""

import hashlib
import struct

_HEAD = b"\xe0\x7f\x10\x00OW\x00\x00"


def digest_of_values(values: bytes) -> str:
    """Digest pixel values, little endian; empty where all are of one brightness, by which nothing could be known."""
    values += b"\0" * (len(values) % 2)
    if values[:-2] == values[2:]:
        return ""
    digest = hashlib.sha256(_HEAD + struct.pack("<L", len(values)))  # as explicit VR little endian has the element
    digest.update(values)
    return digest.hexdigest()


def digest_of_study(shown: set[str]) -> str:
    """Digest what all images of a study show; empty where they show nothing."""
    return hashlib.sha256("".join(sorted(shown)).encode()).hexdigest() if shown else ""
