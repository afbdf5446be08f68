"""Draws docs/states.md from the tables of allowed moves; ``python -m rig.service.state_tables`` writes it anew."""

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
TABLES: Mapping[str, Mapping[Any, AbstractSet[Any]]] = {
    "A run": RUN_MOVES,
    "A working copy": COPY_MOVES,
    "An arrival": ARRIVAL_MOVES,
    "A pull": PULL_MOVES,
    "A delivery": DELIVERY_MOVES,
}
"""By the heading under which each stands."""


BEGIN, END = "<!-- drawn from the code -->", "<!-- end of what is drawn -->"


def drawn(moves: Mapping[Any, AbstractSet[Any]]) -> str:
    """A table of the states by those that they may become; of an end its row says so."""
    states = [str(one) for one in type(next(iter(moves)))]
    rows = [["from \\ to", *states], ["---", *[":-:"] * len(states)]]
    for before, after in moves.items():
        rows.append([f"**{before}**", *("&bull;" if one in map(str, after) else "" for one in states)])
        if not after:
            rows[-1][0] += " (an end)"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([BEGIN, "", *lines, "", END])


def _put_behind(table: str, found: re.Match[str]) -> str:
    return found[1] + table


def with_tables(text: str) -> str:
    """The page with every table as the code has it."""
    for heading, moves in TABLES.items():
        pattern = rf"(## {heading}\n.*?){BEGIN}\n.*?{END}"
        assert re.search(pattern, text, re.DOTALL), heading
        text = re.sub(pattern, partial(_put_behind, drawn(moves)), text, count=1, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
