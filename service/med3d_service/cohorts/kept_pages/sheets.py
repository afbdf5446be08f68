"""Pages that hold all in themselves, so that they can be kept and mailed: templates that escape what they are given."""

from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SHARED = "med3d_service.cohorts.kept_pages"


@dataclass(frozen=True)
class Drawn:
    """A chart of a page and what it shows. ``svg`` is markup already."""

    svg: Markup
    caption: str


def drawn(svg: str, caption: str) -> Drawn:
    """Take a chart as it was drawn: its own words are escaped."""
    return Drawn(Markup(svg), caption)  # noqa: S704 - Chart.svg escapes its labels


def render_sheet(template: str, *, package: str = SHARED, **values: object) -> str:
    """Render a template of ``package``; it may build upon those of this one. A value that is missing is an error."""
    packages = dict.fromkeys((package, SHARED))
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(values)
