"""Texts in tables that people open in a spreadsheet."""

import os
from pathlib import Path

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would read as a formula (OWASP, "CSV Injection")."""


def safe_text(text: str) -> str:
    """Return ``text`` with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def printable(path: Path) -> str:
    """Return a path as text that every table and page takes: bytes that are no UTF-8 are written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
