"""Which scanner a NIfTI head is of, as the JSON file beside it or the caller says: the image itself does not."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MOST_BYTES = 2**20


@dataclass(frozen=True)
class ScannerFacts:
    """Maker, model and field strength (tesla) in DICOM's words; None where nobody says."""

    manufacturer: str | None = None
    model: str | None = None
    field_strength_t: float | None = None


class TellsScanner(Protocol):
    """An acquisition."""

    @property
    def manufacturer(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def field_strength_t(self) -> float | None: ...


NOTHING_SAID = ScannerFacts()


def sidecar_path(image: Path) -> Path:
    """Where the BIDS sidecar of ``image`` lies."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def sidecar_facts(image: Path) -> ScannerFacts:
    """Read the BIDS sidecar of ``image`` (NAME.json beside NAME.nii.gz); one that cannot be read says nothing."""
    path = sidecar_path(image)
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return NOTHING_SAID
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return NOTHING_SAID
    if not isinstance(said, dict):
        return NOTHING_SAID
    return scanner_facts_of(said)


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
    """Return a text that says something, else None."""
    return value.strip() or None if isinstance(value, str) else None


def told_number(value: Any) -> float | None:
    """Return a positive number, else None."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return float(value) if known else None
