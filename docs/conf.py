"""How the documents become a site that needs no network: `make docs`."""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from generated_pages import write_generated_pages  # noqa: E402 - Sphinx runs this file from elsewhere

project = "InfoVAE-Med3D"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "InfoVAE-Med3D"
html_show_copyright = False
html_copy_source = False
html_extra_path = ["model/evaluation.html"]
exclude_patterns = ["model/evaluation.html"]
myst_heading_anchors = 4


def keep_out_of_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Leave each decision to the index of decisions: 250 titles beside every page would be two thirds of the site."""
    if page.startswith("decisions/"):
        source[0] = f"---\norphan: true\n---\n{source[0]}"


def link_inside(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Turn links to pages outside this folder into those to their copies."""
    source[0] = source[0].replace("](../SECURITY.md)", "](generated/security.md)")
    source[0] = source[0].replace("](../deploy/compose.pacs.yaml)", "](generated/compose.pacs.md)")


def setup(app: Sphinx) -> None:
    """Write what is generated before Sphinx looks for pages, and show code in languages that it does not know."""
    app.add_lexer("dotenv", TextLexer)
    app.connect("source-read", link_inside)
    app.connect("source-read", keep_out_of_contents)
    write_generated_pages(DOCS / "generated")
