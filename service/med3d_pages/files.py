"""The files that pages refer to: ours, and the viewer's library where ``make pages`` has fetched it."""

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from med3d_pages.addresses import PREFIX

STATIC = Path(__file__).parent / "static"
VENDOR = STATIC / "vendor"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}
LIBRARY = "niivue.umd.js"
LIBRARY_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
"""Of NiiVue 0.69.0. A file that is another one is not used: scripts of ours see heads."""


@lru_cache
def viewer_library() -> str | None:
    """Name the viewer's library; None where there is none that can be trusted, and pages show still pictures."""
    return LIBRARY if is_trusted(VENDOR / LIBRARY, LIBRARY_SHA256) else None


def is_trusted(path: Path, sha256: str) -> bool:
    """Tell whether a file is there, and is the one of this digest."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


@lru_cache
def asset_paths() -> dict[str, Path]:
    """List the files that may be asked for, by name."""
    found = [*STATIC.iterdir(), *(VENDOR.iterdir() if viewer_library() else ())]
    return {path.name: path for path in found if path.suffix in KINDS}


@lru_cache
def asset_url(name: str) -> str:
    """Return the address of a file of ours; it changes with the content, so that browsers may keep it for ever."""
    digest = hashlib.sha256(asset_paths()[name].read_bytes()).hexdigest()[:16]
    return f"{PREFIX}/static/{digest}/{name}"


@lru_cache
def integrity_of(name: str) -> str:
    """Return what a browser holds the file against before it uses it (Subresource Integrity)."""
    return "sha384-" + base64.b64encode(hashlib.sha384(asset_paths()[name].read_bytes()).digest()).decode()
