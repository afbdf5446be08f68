"""How the chosen series was acquired, as far as results and checks may know."""

from dataclasses import dataclass

from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.stack_geometry import StackGeometry


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Device and parameters; nothing that identifies a person or a place. None where the headers do not tell.

    sequence: our words, made of coded values. spacing_mm along the voxel axes (columns, rows, slices for DICOM).
    """

    manufacturer: str | None = None
    model: str | None = None
    field_strength_t: float | None = None
    sequence: str | None = None
    tr_ms: float | None = None
    te_ms: float | None = None
    ti_ms: float | None = None
    flip_deg: float | None = None
    spacing_mm: tuple[float, float, float] | None = None
    slice_thickness_mm: float | None = None
    contrast_agent: bool | None = None


def acquisition_of(facts: SequenceFacts, geometry: StackGeometry) -> Acquisition:
    """Tell what the facts say that most slices share."""
    return Acquisition(
        manufacturer=facts.manufacturer,
        model=facts.model,
        field_strength_t=facts.field_strength_t,
        sequence=_sequence(facts),
        tr_ms=facts.tr_ms,
        te_ms=facts.te_ms,
        ti_ms=facts.ti_ms,
        flip_deg=facts.flip_deg,
        spacing_mm=geometry.spacing_mm,
        slice_thickness_mm=facts.slice_thickness_mm,
        contrast_agent=facts.contrast_agent,
    )


def _sequence(facts: SequenceFacts) -> str | None:
    gradient = "GR" in facts.scanning_sequence or facts.echo_pulse_sequence == "GRADIENT"
    spin = "SE" in facts.scanning_sequence or facts.echo_pulse_sequence == "SPIN"
    if gradient == spin:
        return None
    dimensions = f"{facts.acquisition_type} " if facts.acquisition_type in {"2D", "3D"} else ""
    inverted = facts.ti_ms is not None or bool(facts.inversion_recovery) or "IR" in facts.scanning_sequence
    return f"{dimensions}{'inversion-prepared ' if inverted else ''}{'gradient' if gradient else 'spin'} echo"
