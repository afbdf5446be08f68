"""Stacks of slices whose positions are written as scanners and converters write them: rounded, cut, held in 32 bits."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from field.tables import Row
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import PatientAttributes, Plane, SequenceFacts
from med3d_pipeline.reading.stack_geometry import assemble_stack

SLICES = 176
FIRST_MM = np.array([-119.53125, -131.2871, -77.123456])
STEPS_MM = (0.9375, 0.8, 0.5, 1.2, 0.7, 1.0, 0.9, 1.3333, 0.977)
AXES = {"axial": np.eye(3), "sagittal": np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float)}
AXES |= {f"oblique {seed}": Rotation.random(random_state=seed).as_matrix() for seed in range(3)}
"""Columns: along rows, along columns, along slices."""


def stack_rows() -> list[Row]:
    """Return a row for each."""
    return [*_rounded(), *_incomplete()]


def _rounded() -> Iterator[Row]:
    for step, decimals, (name, axes) in product(STEPS_MM, (1, 2, 3, 6), AXES.items()):
        exact = FIRST_MM + step * np.arange(SLICES)[:, None] * axes[:, 2]
        one = exact.copy()
        moving = int(np.argmax(np.abs(axes[:, 2])))
        one[:, moving] = np.round(one[:, moving], decimals)
        rounded = np.round(exact, decimals)
        written = {"all": rounded, "one coordinate": one, "floored": np.floor(exact * 10**decimals) / 10**decimals}
        written["in 32 bits"] = rounded.astype(np.float32).astype(float)
        for how, positions in written.items():
            yield _row(f"{name}, {step} mm, {decimals} decimals, {how}", positions, axes, f"{step:.2f} mm")


def _incomplete() -> Iterator[Row]:
    for decimals, (name, axes) in product((1, 2, 3), AXES.items()):
        positions = np.round(FIRST_MM + 0.9375 * np.arange(SLICES)[:, None] * axes[:, 2], decimals)
        yield _row(f"{name}, {decimals} decimals, one missing", np.delete(positions, 88, 0), axes, "missing_slices")
        positions[88] += 0.4 * axes[:, 2]
        yield _row(f"{name}, {decimals} decimals, one aside", positions, axes, "uneven_spacing")


def _row(name: str, positions: np.ndarray, axes: np.ndarray, wanted: str) -> Row:
    planes = [_plane(number, place, axes) for number, place in enumerate(positions)]
    try:
        got = f"{assemble_stack(planes).spacing_mm[2]:.2f} mm"
    except InputRefused as refused:
        got = refused.code
    return Row(f"stacks:{name}", wanted, got, got == wanted)


def _plane(number: int, place: np.ndarray, axes: np.ndarray) -> Plane:
    return Plane(
        path=Path("slice.dcm"), uid=str(number), series_uid="1", series_number=1, frame=0, frames_in_file=1, rows=256,
        columns=256, pixel_spacing_mm=(1.0, 1.0), orientation=tuple(np.r_[axes[:, 0], axes[:, 1]]),
        position_mm=tuple(place), rescale_slope=1.0, rescale_intercept=0.0, stack="", temporal=(), pixel_data="whole",
        facts=SequenceFacts(), patient=PatientAttributes(), trigger_ms=None, instance_number=number, study_uid="1", person="",
    )  # fmt: skip
