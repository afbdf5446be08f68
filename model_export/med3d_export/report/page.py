"""Markdown into one HTML file that needs nothing else: pictures inside, no script, nothing loaded from elsewhere."""

import base64
import html
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1c1917; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; display: block; overflow-x: auto; }
td, th { border: 1px solid #d6d3d1; padding: .25rem .5rem; }
th { background: #f5f5f4; text-align: left; }
img { max-width: 100%; }
code { background: #f5f5f4; padding: 0 .2rem; }
"""


def write_page(markdown: str, folder: Path) -> tuple[Path, Path]:
    """Write report.md and report.html into ``folder``; pictures are named relative to it and must be there."""
    folder.mkdir(parents=True, exist_ok=True)
    source, page = folder / "report.md", folder / "report.html"
    source.write_text(markdown, encoding="utf-8")
    page.write_text(_page(markdown, folder), encoding="utf-8")
    return source, page


def _page(markdown: str, folder: Path) -> str:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        for child in token.children or []:
            if child.type == "image":
                child.attrSet("src", _embedded(folder / str(child.attrGet("src"))))
    body: Any = parser.renderer.render(tokens, parser.options, {})
    title = html.escape(markdown.lstrip("# ").partition("\n")[0])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}</body></html>\n'


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
