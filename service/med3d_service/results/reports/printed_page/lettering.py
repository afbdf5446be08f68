"""Letters of the page: fonts that travel inside the PDF, text that fits its place whole, and proper signs.

Latin, Greek and Cyrillic letters are FiraGO (package pymupdf-fonts). Chinese, Japanese and Korean ones come from the
first of CJK_FILES that is there (on Debian: fonts-wqy-zenhei). What has no letters here, and what takes more than
letters in a row (right to left, marks that move or stack, as in Hindi and Thai), is told to be elsewhere.
"""

import io
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from unicodedata import bidirectional, category, normalize

from pymupdf_fonts import FiraGO_Bold, FiraGO_Regular
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas

FONT, BOLD, CJK = "Med3dSans", "Med3dSans-Bold", "Med3dCjk"
CJK_FILES = (
    Path("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"),
    Path("/usr/share/fonts/wenquanyi/wqy-zenhei/wqy-zenhei.ttc"),
    Path("/usr/share/fonts/wqy-zenhei-fonts/wqy-zenhei.ttc"),
)
MINUS = "\N{MINUS SIGN}"
SMALLEST = 5.0
"""Points. Text that is wider than its place even so is drawn narrower, never cut."""


@cache
def _faces() -> dict[str, frozenset[int]]:
    """Register the fonts once a process; the characters that each has."""
    embedded = {FONT: FiraGO_Regular.fontbuffer, BOLD: FiraGO_Bold.fontbuffer}
    return {name: _registered(TTFont(name, io.BytesIO(data), asciiReadable=False)) for name, data in embedded.items()}


@cache
def _cjk_characters() -> frozenset[int]:
    """Register the font for Chinese, Japanese and Korean, which is large, where a text needs it; what it has."""
    for path in CJK_FILES:
        try:
            return _registered(TTFont(CJK, str(path), asciiReadable=False))
        except TTFError:  # not there
            continue
    return frozenset()


def _registered(font: TTFont) -> frozenset[int]:
    pdfmetrics.registerFont(font)
    return frozenset(font.face.charToGlyph)


def prepare_fonts() -> None:
    """Have the fonts ready for whoever sets them by name."""
    _faces()


def can_write(text: str) -> bool:
    """Tell whether the page has a letter for each character of the text."""
    return all(_font_of(one, FONT) is not None for one in normalize("NFC", text))


def printable(text: str) -> str:
    """Return the text on one line, with a question mark for what no font has."""
    composed = normalize("NFC", text)  # an accent by itself would stand in or beside its letter
    line = " ".join("".join(one if one.isprintable() else " " for one in composed).split())
    return "".join(one if _font_of(one, FONT) else "?" for one in line)


def width_of(text: str, font: str, size: float) -> float:
    """Return width of a text in points."""
    return float(sum(pdfmetrics.stringWidth(piece, name, size) for name, piece in _pieces(text, font)))


def draw_text(
    canvas: Canvas, at: tuple[float, float], text: str, *, font: str, size: float, width: float | None = None
) -> None:
    """Draw one line from ``at`` on; smaller, and at last narrower, where it would be wider than ``width``."""
    text = printable(text)
    natural, narrowed = width_of(text, font, size), 100.0
    if width is not None and natural > width:
        smaller = max(SMALLEST, size * width / natural)
        natural, size = natural * smaller / size, smaller
        narrowed = 100.0 * min(1.0, width / natural)
    drawn = canvas.beginText(*at)
    drawn.setHorizScale(narrowed)
    for name, piece in _pieces(text, font):
        drawn.setFont(name, size)
        drawn.textOut(piece)
    canvas.drawText(drawn)


def wrapped(text: str, font: str, size: float, width: float) -> list[str]:
    """Break a text into lines that fit, at blanks; a word that is wider than a line, where it must."""
    lines, line = [], ""
    for word in _words(printable(text), font, size, width):
        longer = f"{line} {word}".strip()
        if line and width_of(longer, font, size) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines


def _words(text: str, font: str, size: float, width: float) -> Sequence[str]:
    found = []
    for word in text.split():
        piece = ""
        for one in word:
            if piece and width_of(piece + one, font, size) > width:
                found.append(piece)
                piece = ""
            piece += one
        found.append(piece)
    return found


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number with a minus sign instead of a hyphen; nothing is negative that rounds to zero."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:{'+' if signed else ''}.{decimals}f}".replace("-", MINUS)


def _font_of(character: str, wanted: str) -> str | None:
    code = ord(character)
    if bidirectional(character) in {"R", "AL"} or category(character).startswith("M"):
        return None
    if code in _faces()[wanted]:
        return wanted
    return CJK if code in _cjk_characters() else None


def _pieces(text: str, font: str) -> list[tuple[str, str]]:
    """Return (font, what it writes) along the text."""
    fonts = groupby(text, key=lambda one: _font_of(one, font) or font)
    return [(name, "".join(characters)) for name, characters in fonts]
