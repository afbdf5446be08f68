"""What a route says of its body, among its ``dependencies``; one that says nothing is handed a body of LARGEST_JSON.

@router.post("/studies", dependencies=[ReadsAsItComes])
@router.put("/preprocessed", dependencies=[takes_up_to(32 * MIB)])
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from fastapi.params import Depends as Mark

from med3d_service.problems import problems

LARGEST_JSON = 1024 * 1024
BODY_CODES = ("body_too_large", "body_encoded", "request_too_slow", "unknown_transfer_coding")


@dataclass(frozen=True)
class Largest:
    """How large a body is taken; None: the route reads it in pieces, and bounds it itself."""

    size_bytes: int | None

    async def __call__(self) -> None:
        """Do nothing: it stands at the route for the door to see."""


ReadsAsItComes = Depends(Largest(None))


def takes_up_to(size_bytes: int) -> Mark:
    """Mark a route that takes larger bodies than others."""
    mark: Mark = Depends(Largest(size_bytes))
    return mark


def largest_body(marks: Sequence[Mark]) -> int | None:
    """Return the most bytes that the door reads for a route with these ``dependencies``; None: it reads none."""
    said = [mark.dependency for mark in marks if isinstance(mark.dependency, Largest)]
    return said[-1].size_bytes if said else LARGEST_JSON


def describe_bodies(document: MutableMapping[str, Any]) -> None:
    """Say in the OpenAPI document what may come of a body that is too large or too slow."""
    for methods in document["paths"].values():
        for method, route in methods.items():
            if method == "get":
                continue
            for status, response in problems(*BODY_CODES).items():
                described = route["responses"].setdefault(str(status), response)
                for kind, shown in response["content"].items():
                    described["content"].get(kind, {}).setdefault("examples", {}).update(shown["examples"])
