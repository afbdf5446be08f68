"""Copies of one instance among the files of a study ("IM0080 - Copy.dcm", a folder kept twice): one counts."""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_files import data_set_start, read_dicom
from med3d_pipeline.reading.dicom_pixels import plane_pixels
from med3d_pipeline.reading.dicom_plane import Plane, facts_order, moment_order


def without_copies(planes: Sequence[Plane]) -> tuple[list[Plane], dict[str, int]]:
    """Keep one plane of each instance and frame, and count what was dropped by SeriesInstanceUID.

    Planes are copies where their instance, frame and place agree and their data sets are the same bytes or decode to
    the same pixels (sent compressed and not). What only shares an instance's UID is no copy and stays, for the geometry
    to refuse it. Which file is kept depends on its content alone.
    """
    alike: dict[tuple[object, ...], list[Plane]] = defaultdict(list)
    for plane in planes:
        place = (plane.position_mm, plane.orientation, plane.rows, plane.columns)
        alike[plane.series_uid, plane.facts.sop_class, plane.uid, plane.frame, *place].append(plane)
    kept: list[Plane] = []
    dropped: dict[str, int] = defaultdict(int)
    for group in alike.values():
        distinct = group if len(group) == 1 else _distinct(group)
        kept += distinct
        if len(distinct) < len(group):
            dropped[group[0].series_uid] += len(group) - len(distinct)
    return kept, dict(dropped)


def _distinct(group: Sequence[Plane]) -> list[Plane]:
    by_digest = {_digest(plane.path): plane for plane in group}
    distinct: list[Plane] = []
    for _, plane in sorted(by_digest.items(), key=_told):
        if not plane.uid or not any(_same_pixels(plane, other) for other in distinct):
            distinct.append(plane)
    return distinct


def _told(item: tuple[str, Plane]) -> tuple[object, ...]:
    """Order copies by what every copy of the study says of them, and by bytes only where that is the same."""
    digest, plane = item
    return (moment_order(plane), facts_order(plane.facts), digest)


def _digest(path: Path) -> str:
    data = read_dicom(path)
    return sha256(memoryview(data)[data_set_start(data) :]).hexdigest()


def _same_pixels(one: Plane, other: Plane) -> bool:
    try:
        return bool(np.array_equal(plane_pixels(one), plane_pixels(other)))
    except InputRefused:
        return False
