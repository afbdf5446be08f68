"""What the reader keeps of one DICOM image plane: a few numbers, never its data set."""

from dataclasses import dataclass, fields
from pathlib import Path

from med3d_pipeline.reading.dicom_files import PixelDataState

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PatientAttributes:
    """Raw DICOM strings that tell the subject's age and sex; they go no further than that."""

    birth_date: str | None = None
    study_date: str | None = None
    patient_age: str | None = None
    sex: str | None = None
    acquisition_date: str | None = None
    series_date: str | None = None
    content_date: str | None = None


@dataclass(frozen=True, slots=True)
class SequenceFacts:
    """How a plane was acquired: what the contrast is judged by. Shared by all planes that agree.

    Times in ms, angle in degrees, field in T; coded values in upper case. ``description_hints`` holds the known words
    that the sender's descriptions contain (``T1``, ``T2``, ...), ``derivations`` what the description of a derivation
    speaks of, never the descriptions themselves.
    """

    modality: str = ""
    sop_class: str = ""
    image_type: tuple[str, ...] = ()
    component: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    sequence_name: str = ""
    acquisition_type: str = ""
    acquisition_contrast: str = ""
    echo_pulse_sequence: str = ""
    tr_ms: float | None = None
    te_ms: float | None = None
    ti_ms: float | None = None
    flip_deg: float | None = None
    echo_train_length: float | None = None
    echo_number: float | None = None
    b_value: float | None = None
    inversion_recovery: bool | None = None
    echo_planar: bool | None = None
    angiography: bool = False
    volume_calculation: str = ""
    contrast_agent: bool = False
    description_hints: frozenset[str] = frozenset()
    derivations: frozenset[str] = frozenset()
    lossy_compressed: bool = False
    slice_thickness_mm: float | None = None
    slice_spacing_mm: float | None = None
    field_strength_t: float | None = None
    manufacturer: str | None = None
    model: str | None = None
    photometric: str = ""
    samples_per_pixel: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    burned_in_text: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice: where its pixels are, where it lies in the patient, and how it was acquired.

    ``orientation`` holds the direction cosines of increasing column and of increasing row index, ``position_mm`` the
    centre of the first pixel, both in LPS as in DICOM PS3.3 C.7.6.2; ``pixel_spacing_mm`` is (between rows, between
    columns). ``uid`` serves to order content and is never shown. ``frame`` counts from 0. ``person`` is a digest of
    PatientID, "" where that is absent: it serves to tell people apart and nothing else.
    """

    path: Path
    uid: str
    series_uid: str
    series_number: int | None
    frame: int
    frames_in_file: int
    rows: int
    columns: int
    pixel_spacing_mm: Numbers | None
    orientation: Numbers | None
    position_mm: Numbers | None
    rescale_slope: float
    rescale_intercept: float
    stack: str
    temporal: tuple[str, ...]
    pixel_data: PixelDataState
    facts: SequenceFacts
    patient: PatientAttributes
    trigger_ms: float | None = None
    instance_number: int | None = None
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    person: str = ""


def moment_order(plane: Plane) -> tuple[object, ...]:
    """Return a sort key: temporal position and acquisition by their numbers, then trigger time and number of image."""
    temporal = tuple((len(text), text) for text in plane.temporal)
    return (temporal, plane.trigger_ms or 0.0, plane.instance_number or 0, plane.frame)


def lasting_order(plane: Plane) -> tuple[object, ...]:
    """Return a sort key of what is the same in every copy of an image, de-identified or not: where and when it was."""
    return (plane.position_mm or (), plane.orientation or (), *moment_order(plane))


def facts_order(facts: SequenceFacts) -> tuple[object, ...]:
    """Return a sort key: numbers first, as de-identification may replace words."""
    values = [getattr(facts, field.name) for field in fields(facts)]
    numbers = tuple(float(value) if isinstance(value, int | float) else -1.0 for value in values)
    return (numbers, tuple(_words(value) for value in values))


def _words(value: object) -> tuple[str, ...]:
    """Return texts, of a set in the order of the alphabet: its own changes from one process to the next."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, frozenset):
        return tuple(sorted(value))
    return value if isinstance(value, tuple) else ()
