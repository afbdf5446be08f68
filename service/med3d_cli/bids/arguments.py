"""The command line of BIDS Apps as people know it: several labels behind one option, underscores for hyphens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer

from med3d_cli.empty_words import CommandOfWords

SEVERAL = ("--participant-label", "--session-label")


class BidsAppCommand(CommandOfWords):
    """Reads ``--participant_label 01 02 03`` as the option given three times."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed."""
        return super().parse_args(ctx, list(spelt_out(args)))


def spelt_out(args: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with each label behind an option of its own."""
    option = ""
    behind = 0
    for word in args:
        if word.startswith("--"):
            name, is_assigned, value = word.partition("=")
            option, behind = name.replace("_", "-"), 0
            yield f"{option}{is_assigned}{value}"
            option = "" if is_assigned else option
        elif option in SEVERAL and behind:
            yield from (option, word)
        else:
            behind += 1
            yield word


def labels(given: Iterable[str] | None) -> list[str]:
    """Split what was given for an option of labels: by commas and spaces, too. Raises BadParameter on an empty one."""
    found = [label for text in given or () for label in text.replace(",", " ").split()]
    if given and not found:
        raise typer.BadParameter("names no label")
    return found
