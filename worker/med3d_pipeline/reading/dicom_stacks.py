"""From the planes of a study to the stacks that may each be one volume."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from med3d_pipeline.reading.dicom_plane import Plane, lasting_order
from med3d_pipeline.reading.interleaving import parts_interleave
from med3d_pipeline.reading.stack_geometry import MIN_SLICES

MAX_VOLUMES_PER_SERIES = 16
MIN_OWN_STACK = 16
OWN_STACK_ANGLE_DEG = 20.0

# Positions that occur more than once in a series, or slices that lie between one another, mean several volumes, and
# these are the attributes by which scanners tell such volumes apart, the most meaningful first.
_VOLUME_MARKS: tuple[Callable[[Plane], object], ...] = (
    lambda plane: plane.series_number,  # two series under one UID, or without any
    lambda plane: plane.stack,
    lambda plane: plane.facts.image_type,
    lambda plane: plane.facts.component,
    lambda plane: (plane.facts.te_ms, plane.facts.echo_number),
    lambda plane: plane.facts.ti_ms,
    lambda plane: plane.facts.b_value,
    lambda plane: plane.temporal,
    lambda plane: plane.temporal[0:1],  # temporal position alone: acquisitions may be numbered slice by slice
    lambda plane: plane.temporal[1:2],  # acquisition alone
    lambda plane: plane.trigger_ms,
)


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes that may be one volume. ``by_place``: every slice had a SeriesInstanceUID of its own."""

    planes: tuple[Plane, ...]
    by_place: bool = False


def stacks_of_study(planes: Iterable[Plane]) -> list[Stack]:
    """Group planes by series and object class, then tell the volumes of one series apart.

    A series is split only where slice positions repeat or lie between one another and an attribute tells the
    repetitions apart in groups of comparable size, or where it holds several full stacks that face differently.
    Whatever else is irregular stays together, for ``consistent_stack`` and the geometry to judge.
    """
    series: dict[tuple[str, str], list[Plane]] = defaultdict(list)
    for plane in planes:
        series[plane.series_uid, plane.facts.sop_class].append(plane)
    whole, scattered = _scattered(list(series.values()))
    return [
        Stack(tuple(part), by_place)
        for groups, by_place in ((whole, False), (scattered, True))
        for group in groups
        for part in _volumes(sorted(group, key=_order))
    ]


def fingerprint(stack: Sequence[Plane]) -> str:
    """Digest which instances and frames make up a stack: an order of stacks that no file name influences."""
    return sha256("\n".join(sorted(f"{plane.uid}:{plane.frame}" for plane in stack)).encode()).hexdigest()


def _scattered(series: list[list[Plane]]) -> tuple[list[list[Plane]], list[list[Plane]]]:
    """Bring the slices together that a de-identifier gave a series each; the other series as they were, and these.

    Single slices of one series number count as one series where they are as many as a volume has at least. Where each
    has a study of its own as well, the study tells nothing either.
    """
    singles = [group for group in series if len(group) == 1 and group[0].frames_in_file == 1]
    studies = {group[0].study_uid for group in singles}
    study_tells = len(studies) < max(len(singles), 2)
    gathered: dict[tuple[object, ...], list[Plane]] = defaultdict(list)
    for (plane,) in singles:
        key = (plane.study_uid if study_tells else "", plane.person, plane.series_number, plane.facts.sop_class)
        gathered[key].append(plane)
    scattered = [group for group in gathered.values() if len(group) >= MIN_OWN_STACK]
    moved = {id(plane) for group in scattered for plane in group}
    return [group for group in series if id(group[0]) not in moved], scattered


def _order(plane: Plane) -> tuple[object, ...]:
    return (*lasting_order(plane), plane.uid)


def _volumes(members: list[Plane]) -> list[list[Plane]]:
    groups = [part for group in _split_by_marks(members) for part in _split_by_orientation(group)]
    return groups if len(groups) <= MAX_VOLUMES_PER_SERIES else [members]


def _split_by_marks(members: list[Plane]) -> list[list[Plane]]:
    groups = [members]
    for mark in _VOLUME_MARKS:
        groups = [part for group in groups for part in _split(group, mark)]
    return groups


def _repeats(group: Sequence[Plane]) -> bool:
    places = Counter(
        (tuple(round(value, 2) for value in plane.position_mm), tuple(round(value, 2) for value in plane.orientation))
        for plane in group
        if plane.position_mm is not None and plane.orientation is not None
    )
    return any(count > 1 for count in places.values())


def _split(group: list[Plane], mark: Callable[[Plane], object]) -> list[list[Plane]]:
    parts: dict[object, list[Plane]] = defaultdict(list)
    for plane in group:
        parts[mark(plane)].append(plane)
    sizes = [len(part) for part in parts.values()]
    whole_volumes = len(sizes) > 1 and min(sizes) >= MIN_SLICES and 2 * min(sizes) >= max(sizes)
    found = list(parts.values())
    return found if whole_volumes and (_repeats(group) or parts_interleave(found)) else [group]


def _split_by_orientation(group: list[Plane]) -> list[list[Plane]]:
    clusters: list[tuple[np.ndarray, list[Plane]]] = []
    for plane in group:
        if plane.orientation is None:
            return [group]
        normal = np.cross(plane.orientation[:3], plane.orientation[3:])
        for axis, members in clusters:
            if abs(float(axis @ normal)) > np.cos(np.radians(OWN_STACK_ANGLE_DEG)):
                members.append(plane)
                break
        else:
            clusters.append((normal, [plane]))
            if len(clusters) > MAX_VOLUMES_PER_SERIES:
                return [group]
    if min(len(members) for _, members in clusters) < MIN_OWN_STACK:
        return [group]
    return [members for _, members in clusters]
