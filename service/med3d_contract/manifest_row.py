"""A row of a cohort's manifest as it was read, and what is wrong with a manifest."""

from collections.abc import Mapping
from dataclasses import dataclass


class ManifestError(Exception):
    """The manifest is wrong; ``problems`` holds one line per fault that names the row (header: row 1)."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ManifestRow:
    """One row: its number in the file (the header is row 1) and its values by column."""

    number: int
    values: Mapping[str, str | None]
