"""Slices of two acquisitions that lie between one another: together they look like one finer volume, and are none."""

from collections.abc import Sequence

import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import Plane
from med3d_pipeline.volume import Voxels

LEAST_OVERLAP = 0.5
# A pass of an interleaved 2D acquisition leaves at least every second slice out; slices of a volume touch or overlap.
PASS_GAP = 1.3
OVERLAPPING_STEP = 0.75  # of the slice thickness: closer slices are interpolated, or of two acquisitions
MIN_RUN = 4
SAMPLING = 3  # every third pixel along rows and columns is enough to compare slices
CLEARLY = 1.05
HARDLY = 0.5
MIN_JUDGED = 16  # fewer slices show no pattern


def parts_interleave(parts: Sequence[Sequence[Plane]]) -> bool:
    """Tell whether parts of one series, told apart by an attribute, are volumes that lie between one another.

    They cover the same stretch along the common normal, and each alone is as dense as its slices are thick. The passes
    of an interleaved two-dimensional acquisition leave gaps instead, so they stay together.
    """
    normal = _common_normal(parts)
    if normal is None:
        return False
    places = [np.sort([float(np.dot(normal, plane.position_mm or ())) for plane in part]) for part in parts]
    overlap = min(along[-1] for along in places) - max(along[0] for along in places)
    if overlap < LEAST_OVERLAP * min(along[-1] - along[0] for along in places):
        return False
    facts = [plane.facts for part in parts for plane in part]
    thickness_mm = [fact.slice_thickness_mm for fact in facts if fact.slice_thickness_mm]
    if not thickness_mm or all(fact.acquisition_type == "3D" for fact in facts):
        return True
    step_mm = max(float(np.median(np.diff(along))) for along in places)
    return step_mm <= PASS_GAP * float(np.median(thickness_mm))


def refuse_interleaved(planes: Sequence[Plane], step_mm: float) -> None:
    """Raise InputRefused("several_acquisitions") where headers say that every second slice is of another volume.

    ``planes`` in their order in space, evenly ``step_mm`` apart. Slices may well be closer than they are thick
    (interpolated along the slice axis); then they are numbered as they lie, and the stated spacing is the real one.
    """
    if not closer_than_thick(planes, step_mm):
        return
    stated = [plane.facts.slice_spacing_mm for plane in planes if plane.facts.slice_spacing_mm]
    contradicted = bool(stated) and float(np.median(stated)) > 1.5 * step_mm
    if contradicted or _numbered_alternately(planes):
        raise interleaved(step_mm)


def closer_than_thick(planes: Sequence[Plane], step_mm: float) -> bool:
    """Tell whether slices overlap so much that they may be two volumes; where no thickness is told, pixels stand in."""
    thickness_mm = [plane.facts.slice_thickness_mm for plane in planes if plane.facts.slice_thickness_mm]
    pixels_mm = [min(plane.pixel_spacing_mm) for plane in planes if plane.pixel_spacing_mm]
    nominal_mm = float(np.median(thickness_mm or pixels_mm or [0.0]))
    return step_mm < OVERLAPPING_STEP * nominal_mm


def slices_alternate(planes: Sequence[Plane], stacked: Voxels, step_mm: float) -> bool:
    """Tell whether slices (slices, rows, columns) alternate between two volumes, by their pixels.

    They do where slices differ more from the next one than from the next but one (the patient moved in between), or,
    where they overlap, where every second step changes much less than the others (the same slice stored at two places).
    In one volume neither is so, the less so the closer its slices lie. Passes of a two-dimensional acquisition may
    differ in brightness or motion, and are one volume all the same.
    """
    overlapping = closer_than_thick(planes, step_mm)
    sample = stacked[:, ::SAMPLING, ::SAMPLING]
    if len(sample) < MIN_JUDGED or (planes[0].facts.acquisition_type == "2D" and not overlapping):
        return False
    steps = np.abs(np.diff(sample, axis=0)).mean(axis=(1, 2))
    next_but_one = float(np.abs(sample[2:] - sample[:-2]).mean())
    smaller, larger = sorted((float(steps[0::2].mean()), float(steps[1::2].mean())))
    return float(steps.mean()) > CLEARLY * next_but_one or (overlapping and smaller < HARDLY * larger)


def interleaved(step_mm: float) -> InputRefused:
    """Make the refusal."""
    return InputRefused(
        "several_acquisitions",
        f"The series holds two acquisitions whose slices lie between one another, {step_mm:.2f} mm apart, and nothing "
        "tells reliably which slice is of which. Send each acquisition as a series of its own.",
    )


def _common_normal(parts: Sequence[Sequence[Plane]]) -> np.ndarray | None:
    """Return the unit normal that all planes share, or None."""
    planes = [plane for part in parts for plane in part]
    if any(plane.orientation is None or plane.position_mm is None for plane in planes):
        return None
    table = np.array([plane.orientation for plane in planes], dtype=np.float64)
    normals = np.cross(table[:, :3], table[:, 3:])
    normal: np.ndarray = np.median(normals, axis=0)
    length = float(np.linalg.norm(normal))
    if length < 0.5 or (np.abs(normals - normal) > 0.02).any():
        return None
    return normal / length


def _numbered_alternately(planes: Sequence[Plane]) -> bool:
    """Tell whether the slices at even places are numbered consecutively, those at odd places too, but not all of them.

    So do two acquisitions, whether the second goes on counting or begins again.
    """
    numbers = [plane.instance_number for plane in planes]
    if any(number is None for number in numbers) or len(numbers) < 2 * MIN_RUN:
        return False
    steps = [np.diff(np.array(numbers[start::pace], dtype=np.int64)) for start, pace in ((0, 2), (1, 2), (0, 1))]
    even, odd, every = (bool((abs(step) == 1).all()) for step in steps)
    return even and odd and not every
