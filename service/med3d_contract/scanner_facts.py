"""Which scanner a NIfTI head is of, as the JSON file beside it or the caller says: the image itself does not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from med3d_contract.json_files import read_object


@dataclass(frozen=True)
class ScannerFacts:
    """Maker, model and field strength (tesla) in DICOM's words; None where nobody says."""

    manufacturer: str | None = None
    model: str | None = None
    field_strength_t: float | None = None


class TellsScanner(Protocol):
    """An acquisition."""

    @property
    def manufacturer(self) -> str | None:
        """Who made the scanner, as it says."""

    @property
    def model(self) -> str | None:
        """Which scanner, as it says."""

    @property
    def field_strength_t(self) -> float | None:
        """Tesla."""


NOTHING_SAID = ScannerFacts()


def sidecar_path(image: Path) -> Path:
    """Tell where the BIDS sidecar of ``image`` lies."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def sidecar_facts(image: Path) -> ScannerFacts:
    """Read the BIDS sidecar of ``image`` (NAME.json beside NAME.nii.gz); one that cannot be read says nothing."""
    said = read_object(sidecar_path(image))
    return NOTHING_SAID if said is None else scanner_facts_of(said)


def scanner_facts_of(said: Mapping[str, Any]) -> ScannerFacts:
    """Take the scanner's facts from what a BIDS sidecar holds."""
    return ScannerFacts(
        told_text(said.get("Manufacturer")),
        told_text(said.get("ManufacturersModelName")),
        told_number(said.get("MagneticFieldStrength")),
    )


def first_told(*sources: TellsScanner) -> ScannerFacts:
    """Take each fact from the first source that tells it."""
    return ScannerFacts(
        next((one.manufacturer for one in sources if one.manufacturer), None),
        next((one.model for one in sources if one.model), None),
        next((one.field_strength_t for one in sources if one.field_strength_t is not None), None),
    )


def told_text(value: Any) -> str | None:
    """Return a text that says something, else None. What no file could hold (half a pair of UTF-16) is replaced."""
    return value.strip().encode(errors="replace").decode() or None if isinstance(value, str) else None


def told_number(value: Any) -> float | None:
    """Return a positive number, else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON has integers of any length
        return None
    return number if math.isfinite(number) and number > 0 else None
