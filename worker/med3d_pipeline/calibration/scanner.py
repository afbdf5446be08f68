"""Which scanner a calibration is for."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict

from med3d_pipeline.inference.yardstick import ScannerAttributes

SAME_FIELD_T = 0.2


class Scanner(BaseModel):
    """Maker, model and field strength as DICOM headers have them; None where no calibration head told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manufacturer: str | None = None
    model: str | None = None
    field_strength_t: float | None = None

    @classmethod
    def of(cls, acquisition: ScannerAttributes) -> Self:
        """Read what ``acquisition`` tells."""
        return cls(
            manufacturer=_plain(acquisition.manufacturer) or None,
            model=_plain(acquisition.model) or None,
            field_strength_t=acquisition.field_strength_t,
        )

    @property
    def is_known(self) -> bool:
        """Maker and model are told: enough to know the scanner again."""
        return self.manufacturer is not None and self.model is not None

    def contradicts(self, acquisition: ScannerAttributes) -> bool:
        """Tell whether ``acquisition`` names another maker, model or field strength; silence contradicts nothing."""
        strengths = self.field_strength_t, acquisition.field_strength_t
        return (
            _differ(_maker(self.manufacturer), _maker(acquisition.manufacturer))
            or _differ(_spaced(self.model), _spaced(acquisition.model))
            or (None not in strengths and abs((strengths[0] or 0.0) - (strengths[1] or 0.0)) > SAME_FIELD_T)
        )

    def is_named_by(self, acquisition: ScannerAttributes) -> bool:
        """Tell whether the headers name this scanner, as far as it is known."""
        told = Scanner.of(acquisition)
        return self.is_known and told.is_known and not self.contradicts(acquisition)

    def in_words(self) -> str:
        """Return words such as ``Siemens Prisma, 3 T``; ``scanner not told`` where nothing is known."""
        device = " ".join(part for part in (self.manufacturer, self.model) if part)
        strength = "" if self.field_strength_t is None else f"{self.field_strength_t:g} T"
        return ", ".join(part for part in (device, strength) if part) or "scanner not told"


def scanners_of(acquisitions: Iterable[ScannerAttributes]) -> list[Scanner]:
    """Return the scanners that differ, each with all that its heads told; one that tells nothing where none does."""
    found: list[Scanner] = []
    for acquisition in acquisitions:
        known = next((one for one in found if not one.contradicts(acquisition)), None)
        if known is None:
            found.append(Scanner.of(acquisition))
        else:
            found[found.index(known)] = _merged(known, Scanner.of(acquisition))
    return found or [Scanner()]


def _merged(one: Scanner, other: Scanner) -> Scanner:
    told = {name: value for name, value in other.model_dump().items() if value is not None}
    return Scanner(**(told | one.model_dump(exclude_none=True)))


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def folded(text: str | None) -> str:
    """Return a label as it is compared: case and spaces make no other one."""
    return _plain(text).casefold()


def _spaced(text: str | None) -> str:
    """Return a label as it is compared where converters of DICOM write _ for a space (DISCOVERY_MR750)."""
    return folded((text or "").replace("_", " "))


def _maker(text: str | None) -> str:
    """Return the first word: the rest differs between converters (GE), headers (GE MEDICAL SYSTEMS) and releases."""
    return _spaced(text).partition(" ")[0]


def _differ(one: str, other: str) -> bool:
    return bool(one) and bool(other) and one != other
