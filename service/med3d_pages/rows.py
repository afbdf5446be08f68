"""Lines of a list of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request

from med3d_pages.bars import AgeBar, age_bar
from med3d_pages.rendering import texts_for
from med3d_pages.texts import Catalogue
from med3d_service.api.service import Service
from med3d_service.runs.worklist import ListedRun
from med3d_service.studies.finding import names_of
from med3d_service.trust.access import Caller


@dataclass(frozen=True)
class Row:
    """A line of the list. ``name``: the patient, and the ID, for those who may know; else the sender's pseudonym."""

    listed: ListedRun
    name: tuple[str, ...] = field(repr=False)
    bar: AgeBar | None
    why_not: str = ""
    """In a sentence why there is no number; empty where there is one, or none is to be expected yet."""
    site: str = ""
    """Whose study it is, where that is not the service's own site."""


def rows_of(request: Request, service: Service, caller: Caller, found: Sequence[ListedRun]) -> list[Row]:
    """Make the lines of these runs."""
    texts = texts_for(request)
    with service.database.read() as session:
        names = names_of(session, service.vault, caller, {one.run.study_id for one in found})
    return [
        Row(
            listed=one,
            name=names.get(one.run.study_id, ()),
            bar=None if one.run.result is None else age_bar(one.run.result.brain_age, texts),
            why_not=_why_not(one, texts),
            site="" if one.site == service.settings.site else one.site,
        )
        for one in found
    ]


def _why_not(one: ListedRun, texts: Catalogue) -> str:
    """Say what the code means in the page's language; in the service's own, the first sentence of what it says."""
    said = one.run.refusal or one.run.failure
    if said is None:
        return ""
    return texts.meaning(said.code) or said.reason.split(". ")[0].rstrip(".") + "."
