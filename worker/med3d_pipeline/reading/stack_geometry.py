"""Where the planes of a stack lie: from ImageOrientationPatient and ImagePositionPatient alone to one affine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from med3d_pipeline.counting import counted
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import Plane
from med3d_pipeline.reading.interleaving import refuse_interleaved
from med3d_pipeline.volume import Affine

Vectors = npt.NDArray[np.floating[Any]]

MIN_SLICES = 4
UNIT_TOLERANCE = 0.01
DIRECTION_TOLERANCE = 1e-3  # per direction cosine: 0.06 degrees, 0.15 mm at the edge of a head
PIXEL_SPACING_TOLERANCE = 1e-3  # relative
SAME_PLACE_MM = 0.01
GAP_TOLERANCE = 0.03  # of the slice step: what rounding of positions can do, and no more
OFF_LINE_MM = 0.1
SINGLE_PRECISION_MM = 2e-5  # 120.3 comes back as 120.30000305 where a program held it in 32 bits
MAX_DECIMALS = 4  # positions with more are not rounded in a way that shows
MOST_ROUNDED_GAP = 0.2  # of the slice step: a gap that is more off a whole number of steps lacks no whole slice
MOSTLY_ONE_STEP = 1.5
MAX_ROUNDING = 0.25  # of the slice step: rounding beyond that could hide a missing slice
FLOAT_SLACK = 1e-6
WHOLE_MM_ROUNDING = 0.499  # or more: all positions are written in whole millimetres
SEVERAL_GAPS = 2  # one uneven distance is a slice too few or too many
MOST_AT_ONE_PLACE = 0.5  # of the distances: rounding leaves fewer, a second volume more
GOLDEN, BAND_STEPS = (5**0.5 - 1) / 2, 60
MAX_TILT_DEG = 0.5
MOST_OF_ANY_TILT_DEG = 60.0  # no gantry and no reformat leans so far: position or orientation is not the scanner's

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class StackGeometry:
    """A stack that is one volume.

    order: indices into the planes, from the first slice to the last along row x column direction.
    affine: (4, 4) float64; voxel indices (column, row, slice) to RAS+ mm.
    shape: (columns, rows, slices).
    """

    order: tuple[int, ...]
    affine: Affine
    shape: tuple[int, int, int]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between columns, between rows, between slices."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(x), float(y), float(z))

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Field of view along each axis: voxels times spacing."""
        x, y, z = (count * spacing for count, spacing in zip(self.shape, self.spacing_mm, strict=True))
        return (x, y, z)


def assemble_stack(planes: Sequence[Plane]) -> StackGeometry:
    """Order the planes in space and derive their affine (DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1).

    File names, instance numbers and slice locations are never looked at. The order of ``planes`` does not matter.

    Raises InputRefused with invalid_geometry, mixed_orientation, mixed_size, duplicate_slices, missing_slices,
    uneven_spacing, gantry_tilt or several_acquisitions, the first of these that applies.
    """
    _refuse_absent_geometry(planes)
    across, down = _one_orientation(planes)
    rows_mm, columns_mm = _one_grid(planes)
    normal = np.cross(across, down)
    positions: Vectors = np.array([plane.position_mm for plane in planes], dtype=np.float64)
    order = np.lexsort((*positions.T, np.round(positions @ normal, 6)))
    positions = positions[order]
    _refuse_positions_along_slices(positions, normal)
    rounding_mm = written_rounding_mm(positions)
    along_normal_mm = float(np.abs(normal) @ rounding_mm)
    _refuse_rounded_distances(positions @ normal, along_normal_mm)
    _refuse_uneven_distances(positions @ normal, along_normal_mm)
    _refuse_off_line(positions, normal, rounding_mm)
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    refuse_interleaved([planes[index] for index in order], float(np.linalg.norm(step)))
    affine = np.eye(4)
    affine[:3, 0] = _LPS_TO_RAS @ across * columns_mm
    affine[:3, 1] = _LPS_TO_RAS @ down * rows_mm
    affine[:3, 2] = _LPS_TO_RAS @ step
    affine[:3, 3] = _LPS_TO_RAS @ positions[0]
    shape = (planes[0].columns, planes[0].rows, len(planes))
    return StackGeometry(tuple(int(index) for index in order), affine, shape)


def _refuse_absent_geometry(planes: Sequence[Plane]) -> None:
    for plane in planes:
        spacing = plane.pixel_spacing_mm
        if plane.orientation is None or plane.position_mm is None or spacing is None or min(spacing) <= 0:
            raise InputRefused(
                "invalid_geometry",
                "Image position, image orientation or pixel spacing is absent or malformed in at least one slice. "
                "Send the images as the scanner wrote them, with their geometry attributes.",
            )
        if plane.rows < 1 or plane.columns < 1:
            raise InputRefused(
                "invalid_geometry",
                "The images do not say how many rows and columns they have. Send them as the scanner wrote them.",
            )


def _one_grid(planes: Sequence[Plane]) -> tuple[float, float]:
    """Return distance between rows and between columns in mm, common to all planes."""
    table = np.array([plane.pixel_spacing_mm for plane in planes], dtype=np.float64)
    spread = np.ptp(table, axis=0) / table.mean(axis=0)
    if len({(plane.rows, plane.columns) for plane in planes}) > 1 or (spread > PIXEL_SPACING_TOLERANCE).any():
        raise InputRefused(
            "mixed_size",
            "The slices of the series differ in matrix size or pixel spacing, so they do not form one volume. "
            "Send the original series, in which all slices share one grid.",
        )
    rows_mm, columns_mm = np.median(table, axis=0)
    return float(rows_mm), float(columns_mm)


def _one_orientation(planes: Sequence[Plane]) -> tuple[Vectors, Vectors]:
    """Return unit vectors (LPS) of increasing column and row index, common to all planes."""
    table = np.array([plane.orientation for plane in planes], dtype=np.float64)
    across, down = table[:, :3], table[:, 3:]
    lengths = np.stack([np.linalg.norm(across, axis=1), np.linalg.norm(down, axis=1)])
    skew = np.abs((across * down).sum(axis=1))
    if (np.abs(lengths - 1) > UNIT_TOLERANCE).any() or (skew > UNIT_TOLERANCE).any():
        raise InputRefused(
            "invalid_geometry",
            "The orientation that at least one slice states (ImageOrientationPatient) is none that a scanner writes: "
            "its two directions do not stand at right angles. A program changed it. Send the images as the scanner "
            "wrote them.",
        )
    typical = np.median(table, axis=0)
    if (np.abs(table - typical) > DIRECTION_TOLERANCE).any():
        raise InputRefused(
            "mixed_orientation",
            "The slices of the series do not all face the same way, so they do not form one volume. "
            "Send each orientation as a series of its own.",
        )
    first = typical[:3] / np.linalg.norm(typical[:3])
    second = typical[3:] - first * (first @ typical[3:])
    return first, second / np.linalg.norm(second)


def _refuse_positions_along_slices(positions: Vectors, normal: Vectors) -> None:
    """Refuse slices that lie beside one another in their own plane, as where only one coordinate was kept."""
    along = positions @ normal
    across_mm = float(np.linalg.norm(np.ptp(positions - np.outer(along, normal), axis=0)))
    leaning = np.tan(np.radians(MOST_OF_ANY_TILT_DEG)) * float(np.ptp(along))
    if across_mm > max(leaning, len(positions) * SAME_PLACE_MM):
        raise InputRefused(
            "invalid_geometry",
            "The positions that the slices state lie beside one another and not behind one another, so they contradict "
            "the stated orientation (ImagePositionPatient and ImageOrientationPatient): a program changed one of them. "
            "Send the images as the scanner wrote them.",
        )


def written_rounding_mm(positions: Vectors) -> Vectors:
    """Return by how much each of the coordinates (x, y, z) may be off because of the decimals that it is written with.

    Some programs round one of them alone. A coordinate that all slices share is not off.
    """
    return np.array([_written_rounding_mm(coordinate) for coordinate in positions.T])


def _written_rounding_mm(values: Vectors) -> float:
    if float(np.ptp(values)) <= SINGLE_PRECISION_MM:
        return 0.0
    for decimals in range(MAX_DECIMALS):
        if (np.abs(np.round(values, decimals) - values) <= SINGLE_PRECISION_MM).all():
            return float(0.5 * 10.0**-decimals)
    return 0.0


def _even_within(distances: Vectors, rounding_mm: float) -> bool:
    """Tell whether evenly spaced slices, each rounded by at most ``rounding_mm``, explain the distances.

    Only where that is so little of a step that a missing or shifted slice could not hide in it.
    """
    step, _ = np.polyfit(np.arange(len(distances)), distances, 1)
    if rounding_mm > MAX_ROUNDING * step:
        return False
    return _narrowest_band_mm(distances, float(step), rounding_mm) <= 2 * rounding_mm * (1 + FLOAT_SLACK)


def _narrowest_band_mm(distances: Vectors, step: float, rounding_mm: float) -> float:
    """Return the width of the narrowest band around a straight line that holds all distances.

    The width is convex in the line's slope, which lies near ``step``: golden-section search.
    """
    places = np.arange(len(distances))

    def width_mm(slope: float) -> float:
        return float(np.ptp(distances - slope * places))

    low, high = step - rounding_mm, step + rounding_mm
    for _ in range(BAND_STEPS):
        reach = GOLDEN * (high - low)
        if width_mm(high - reach) <= width_mm(low + reach):
            high = low + reach
        else:
            low = high - reach
    return width_mm((low + high) / 2)


def _refuse_rounded_distances(distances: Vectors, rounding_mm: float) -> None:
    """Refuse distances that rounding to whole millimetres made uneven, which a missing slice could hide in."""
    if len(distances) < MIN_SLICES or rounding_mm < WHOLE_MM_ROUNDING:
        return
    gaps = np.diff(distances)
    step = float(gaps.mean())
    uneven = np.count_nonzero(np.abs(gaps - np.median(gaps)) > GAP_TOLERANCE * step)
    if (
        uneven >= SEVERAL_GAPS
        and np.mean(gaps <= SAME_PLACE_MM) <= MOST_AT_ONE_PLACE
        and not _even_within(distances, rounding_mm)
        and _narrowest_band_mm(distances, step, rounding_mm) <= 2 * rounding_mm * (1 + FLOAT_SLACK)
    ):
        raise _rounded_to_whole_millimetres()


def _rounded_to_whole_millimetres() -> InputRefused:
    return InputRefused(
        "uneven_spacing",
        "The positions of all slices are written in whole millimetres, and their distances are as uneven as such "
        "rounding leaves them: whether a slice is missing cannot be told. "
        "Send the series as the scanner wrote it, with the decimals of its positions.",
    )


def _refuse_uneven_distances(distances: Vectors, rounding_mm: float) -> None:
    gaps = np.diff(distances)
    apart = gaps[gaps > SAME_PLACE_MM]
    if len(apart) < len(gaps):
        twice = counted(len(gaps) - len(apart), "slice lies", "slices lie")
        raise InputRefused(
            "duplicate_slices",
            f"{twice} at the same place as another one (copies, or several volumes in one series). "
            "Export the series again from the PACS; where it holds several volumes (echoes, repetitions), send one of "
            "them.",
        )
    if len(distances) < MIN_SLICES:
        raise InputRefused(
            "missing_slices",
            f"Only {counted(len(distances), 'slice', 'slices')} of the series came, which is no volume. "
            "Send all slices of the series.",
        )
    smallest = apart.min()
    step = np.median(apart[apart < 1.2 * smallest])
    ratios = gaps / step
    if (np.abs(ratios - 1) <= GAP_TOLERANCE).all() or _even_within(distances, rounding_mm):
        return
    nearest = np.round(ratios)
    rounded = min(2 * rounding_mm / step, MOST_ROUNDED_GAP) if np.median(ratios) < MOSTLY_ONE_STEP else 0.0
    if (np.abs(ratios - nearest) <= GAP_TOLERANCE * np.maximum(nearest, 1) + rounded).all():
        missing = counted(int((nearest - 1).sum()), "slice is", "slices are")
        raise InputRefused(
            "missing_slices",
            f"{missing} missing between the first and the last one. "
            "Send the complete series; the transfer may have been cut short.",
        )
    raise InputRefused(
        "uneven_spacing",
        f"The distance between neighbouring slices varies from {apart.min():.2f} to {apart.max():.2f} mm. "
        "Send the series as the scanner reconstructed it, complete and with evenly spaced slices.",
    )


def _refuse_off_line(positions: Vectors, normal: Vectors, rounding_mm: Vectors) -> None:
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    expected = step * np.arange(len(positions))[:, None]
    residual = positions - expected
    residual -= np.median(residual, axis=0)
    # This slice's rounding, and that of the ones that the line goes by.
    rounded_mm = 2 * float(np.linalg.norm(rounding_mm))
    length_mm = float(np.linalg.norm(step))
    allowed = max(OFF_LINE_MM, 0.05 * length_mm, min(rounded_mm, MAX_ROUNDING * length_mm))
    farthest_mm = float(np.linalg.norm(residual, axis=1).max())
    if farthest_mm > allowed:
        if rounding_mm.max() >= WHOLE_MM_ROUNDING and farthest_mm <= rounded_mm:
            raise _rounded_to_whole_millimetres()
        raise InputRefused(
            "uneven_spacing",
            "The slices do not lie behind one another on a straight line at even distances. "
            "Send the series as the scanner reconstructed it, complete and with evenly spaced slices.",
        )
    cosine = min(1.0, abs(float(step @ normal)) / float(np.linalg.norm(step)))
    tilt_deg = float(np.degrees(np.arccos(cosine)))
    if tilt_deg > MAX_TILT_DEG:
        raise InputRefused(
            "gantry_tilt",
            f"The stack leans by {tilt_deg:.1f} degrees against its slices (gantry tilt or sheared reformat). "
            "Send a series whose slices are stacked perpendicular to their plane.",
        )
