"""What the name of a file says by the rules of BIDS: its entities, its suffix, its kind of file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

IMAGES = (".nii.gz", ".nii")
LONGEST_LABEL = 100
"""In characters: longer ones make names that a file system has no room for."""
_LABEL = re.compile(rf"[a-zA-Z0-9+]{{1,{LONGEST_LABEL}}}")
_NAME = re.compile(r"(?P<entities>(?:[a-zA-Z]+-[a-zA-Z0-9+]+_)*)(?P<suffix>[a-zA-Z0-9]+)(?P<extension>\.[a-zA-Z0-9.]+)")


@dataclass(frozen=True)
class BidsName:
    """``sub-01_ses-2_acq-mprage_T1w.nii.gz``: entities in the name's order, ``T1w``, ``.nii.gz``."""

    entities: Mapping[str, str]
    suffix: str
    extension: str

    @property
    def stem(self) -> str:
        """The name without what tells the kind of file."""
        return "_".join([*(f"{key}-{label}" for key, label in self.entities.items()), self.suffix])

    def applies_to(self, other: "BidsName") -> bool:
        """Tell whether a sidecar of this name tells of ``other``: the same suffix, and no entity that it lacks."""
        return self.suffix == other.suffix and self.entities.items() <= other.entities.items()


def parse_name(name: str) -> BidsName | None:
    """Return what a file's name says; None where it is no name of BIDS."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    pairs = [pair.split("-", 1) for pair in found["entities"].split("_") if pair]
    entities = dict(pairs)
    return BidsName(entities, found["suffix"], found["extension"]) if len(entities) == len(pairs) else None


def without_prefix(label: str, entity: str) -> str:
    """Return ``01`` for ``01`` and for ``sub-01``: people write both."""
    return label.strip().removeprefix(f"{entity}-")


def is_label(text: str) -> bool:
    """Tell whether ``text`` can stand behind ``sub-`` or ``ses-``: it is no path, and nothing that a screen obeys."""
    return _LABEL.fullmatch(text) is not None
