"""Which answers a destination gets, by what is known of them when they are planned."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from med3d_service.network.peers.configuration import Configured

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=300)]
ANSWERS: tuple[Literal["accepted", "review", "refused"], ...] = ("accepted", "review")
"""What goes to a peer that states nothing: a refusal is filed beside the images only where that is asked for."""
EVERY: tuple[Literal["accepted", "review", "refused"], ...] = (*ANSWERS, "refused")


class Filter(Configured):
    """Which answers go there: all that is stated must fit. Patterns are shell patterns; empty: any."""

    decisions: Annotated[tuple[Literal["accepted", "review", "refused"], ...], Field(min_length=1)] = ANSWERS
    sources: tuple[Pattern, ...] = ()
    """upload, or the way by which the study arrived: dimse, stow, orthanc, pull, folder"""
    sites: tuple[Pattern, ...] = ()
    rules: tuple[Pattern, ...] = ()
    """of one of the routing rules that wanted the study; one that no rule has judged fits none"""
    bundles: tuple[Pattern, ...] = ()
    """name@version"""

    def takes(self, answer: "Answer") -> bool:
        """Tell whether an answer goes there."""
        asked = (
            (self.sources, (answer.source,)),
            (self.sites, (answer.site,)),
            (self.rules, answer.rules),
            (self.bundles, (answer.bundle,)),
        )
        fits = all(
            any(fnmatchcase(text, pattern) for pattern in patterns for text in texts)
            for patterns, texts in asked
            if patterns
        )
        return fits and answer.decision in self.decisions


@dataclass(frozen=True)
class Answer:
    """What filters go by."""

    decision: str
    source: str
    site: str
    rules: tuple[str, ...]
    bundle: str
