"""The documents as a site, where ``make docs`` has built it: its files, and which scripts its pages may run."""

import base64
import hashlib
import mimetypes
from html.parser import HTMLParser
from pathlib import Path

SITE = Path(__file__).parent / "site"
FIRST = "index.html"
FONTS = {".woff2": "font/woff2", ".inv": "application/octet-stream"}


def has_documents(site: Path) -> bool:
    """Tell whether a site was built."""
    return (site / FIRST).is_file()


def find_documents(site: Path) -> dict[str, Path]:
    """List a site's files by their address below /docs; empty where no site was built."""
    if not has_documents(site):
        return {}
    found = (path for path in site.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(site).as_posix(): path for path in found}


def kind_of(path: Path) -> str:
    """Return the media type of a file of the site."""
    return FONTS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"


def policy_of(path: Path) -> str:
    """Return the Content-Security-Policy of a file: scripts within a page run by their digest, and no other.

    Styles may stand anywhere: the theme and the plots of the model's evaluation write theirs into elements.
    """
    scripts = scripts_within(path.read_text(encoding="utf-8")) if path.suffix == ".html" else []
    digests = "".join(f" 'sha256-{_digest(script)}'" for script in dict.fromkeys(scripts))
    return (
        f"default-src 'none'; script-src 'self'{digests}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def scripts_within(page: str) -> list[str]:
    """Return the text of each script that stands in a page itself."""
    reader = _Scripts()
    reader.feed(page)
    reader.close()
    return reader.found


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


class _Scripts(HTMLParser):
    """Gathers scripts that have no source of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and "src" not in dict(attrs)
        if self._inside:
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data
