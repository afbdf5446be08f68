"""Texts in tables that people open in a spreadsheet."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would read as a formula (OWASP, "CSV Injection")."""


def safe_text(text: str) -> str:
    """Return ``text`` with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
