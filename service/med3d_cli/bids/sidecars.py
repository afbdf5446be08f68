"""What the JSON files of a dataset say of an image: nearer ones over farther ones (BIDS: inheritance principle)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from med3d_cli.bids.names import BidsName, parse_name
from med3d_contract.json_files import read_object
from med3d_contract.scanner_facts import scanner_facts_of, told_number, told_text
from med3d_pipeline.study.acquisition import Acquisition

MOST_TESLA = 100.0  # above, scanners state gauss
GAUSS_PER_TESLA = 10_000.0
MS_PER_S = 1000.0


class Sidecars:
    """The sidecars of one dataset; each file is read once."""

    def __init__(self, dataset: Path) -> None:
        self._dataset = dataset
        self._listed: dict[Path, list[tuple[BidsName, Path]]] = {}
        self._read: dict[Path, Mapping[str, Any]] = {}
        self.unreadable: set[Path] = set()
        """Sidecars that are no JSON object; they say nothing."""

    def of(self, image: Path, name: BidsName) -> dict[str, Any]:
        """Return what is said of ``image``, below the dataset: from the dataset's own folder down to the image's."""
        said: dict[str, Any] = {}
        for folder in self._folders(image):
            applying = [(one, path) for one, path in self._sidecars(folder) if one.applies_to(name)]
            for _, path in sorted(applying, key=lambda found: len(found[0].entities)):
                said.update(self._contents(path))
        return said

    def _folders(self, image: Path) -> Iterator[Path]:
        folder = self._dataset
        yield folder
        for part in image.parent.relative_to(self._dataset).parts:
            folder = folder / part
            yield folder

    def _sidecars(self, folder: Path) -> list[tuple[BidsName, Path]]:
        if folder not in self._listed:
            named = ((parse_name(path.name), path) for path in sorted(folder.glob("*.json")))
            self._listed[folder] = [(name, path) for name, path in named if name is not None]
        return self._listed[folder]

    def _contents(self, path: Path) -> Mapping[str, Any]:
        if path not in self._read:
            said = read_object(path)
            if said is None:
                self.unreadable.add(path)
            self._read[path] = said or {}
        return self._read[path]


def acquisition_of(said: Mapping[str, Any], name: BidsName) -> Acquisition:
    """Take device and parameters from a sidecar (seconds become milliseconds); ``ce`` in the name is contrast agent."""
    scanner = scanner_facts_of(said)
    agent = "ce" in name.entities or told_text(said.get("ContrastBolusIngredient")) is not None
    return Acquisition(
        manufacturer=scanner.manufacturer,
        model=scanner.model,
        field_strength_t=_tesla(scanner.field_strength_t),
        tr_ms=_ms(said, "RepetitionTime", "RepetitionTimePreparation"),
        te_ms=_ms(said, "EchoTime"),
        ti_ms=_ms(said, "InversionTime"),
        flip_deg=told_number(said.get("FlipAngle")),
        contrast_agent=True if agent else None,
    )


def _tesla(stated: float | None) -> float | None:
    return stated / GAUSS_PER_TESLA if stated is not None and stated > MOST_TESLA else stated


def _ms(said: Mapping[str, Any], *keys: str) -> float | None:
    seconds = next((found for key in keys if (found := told_number(said.get(key))) is not None), None)
    return None if seconds is None else round(seconds * MS_PER_S, 6)
