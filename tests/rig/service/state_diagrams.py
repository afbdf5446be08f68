"""Draws docs/states.md from the tables of allowed moves; ``python -m rig.service.state_diagrams`` writes it anew."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any

from med3d_service.network.pulls.states import PULL_MOVES
from med3d_service.results.delivery.states import DELIVERY_MOVES
from med3d_service.runs.states import RUN_MOVES
from med3d_service.storage.copy_states import COPY_MOVES
from med3d_service.studies.arrivals.states import ARRIVAL_MOVES

PAGE = Path(__file__).parents[3] / "docs" / "states.md"
DIAGRAMS: Mapping[str, Mapping[Any, AbstractSet[Any]]] = {
    "A run": RUN_MOVES,
    "A working copy": COPY_MOVES,
    "An arrival": ARRIVAL_MOVES,
    "A pull": PULL_MOVES,
    "A delivery": DELIVERY_MOVES,
}
"""By the heading under which each stands."""


def drawn(moves: Mapping[Any, AbstractSet[Any]]) -> str:
    """A Mermaid diagram; those that nothing follows lead to its end."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for before, after in moves.items():
        lines += [f"    {before} --> {one}" for one in type(before) if one in after]
        lines += [] if after else [f"    {before} --> [*]"]
    return "\n".join([*lines, "```"])


def _put_behind(diagram: str, found: re.Match[str]) -> str:
    return found[1] + diagram


def with_diagrams(text: str) -> str:
    """The page with every diagram as the code has it."""
    for heading, moves in DIAGRAMS.items():
        pattern = rf"(## {heading}\n.*?)```mermaid\n.*?```"
        assert re.search(pattern, text, re.DOTALL), heading
        diagram = drawn(moves)
        text = re.sub(pattern, partial(_put_behind, diagram), text, count=1, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(with_diagrams(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
