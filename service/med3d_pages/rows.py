"""Lines of a list of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request

from med3d_pages.bars import AgeBar, age_bar
from med3d_pages.rendering import texts_for
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

    @property
    def why_not(self) -> str:
        """The first sentence of why there is no number; empty where there is one, or none is to be expected yet."""
        said = self.listed.run.refusal or self.listed.run.failure
        return "" if said is None else said.reason.split(". ")[0].rstrip(".") + "."


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
        )
        for one in found
    ]
