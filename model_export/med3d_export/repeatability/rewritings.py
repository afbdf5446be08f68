"""The same scan written down otherwise: nothing that was measured changes, so the answer should not."""

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from med3d_pipeline.preprocessing.black_level import raise_to_black
from med3d_pipeline.preprocessing.image_content import find_content
from med3d_pipeline.volume import Affine, Volume

Random = np.random.Generator
HeadChange = Callable[[Volume, Random], Volume]
ROUNDING = 1e-6


def as_it_is(head: Volume, _random: Random) -> Volume:
    """Return the same values in the same place."""
    return head


def rounded_header(head: Volume, random: Random) -> Volume:
    """Return the head with the header's numbers off by up to a millionth of themselves, or of 1 mm if smaller."""
    affine = head.affine.copy()
    off = random.uniform(-ROUNDING, ROUNDING, (3, 4))
    affine[:3] += off * np.maximum(np.abs(affine[:3]), 1.0)
    return Volume(head.voxels, affine)


def moved_header(degrees: float, axis: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> HeadChange:
    """Make the change that turns and moves the place of a head in its header; no voxel changes."""

    def move(head: Volume, _random: Random) -> Volume:
        return Volume(head.voxels, rigid_motion(head, degrees, axis, shift_mm) @ head.affine)

    return move


def stored_in_other_order(order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> HeadChange:
    """Make the change that stores a head's array with its axes in another ``order``, some of them from the far end."""

    def store(head: Volume, _random: Random) -> Volume:
        flipped = tuple(axis for axis, is_flipped in enumerate(flips) if is_flipped)
        to_old = np.zeros((4, 4))
        to_old[3, 3] = 1.0
        for new, old in enumerate(order):
            to_old[old, new] = -1.0 if flips[new] else 1.0
            to_old[old, 3] = head.shape[old] - 1 if flips[new] else 0.0
        return Volume(np.flip(head.voxels.transpose(order), flipped), head.affine @ to_old)

    return store


def cut_closer(more: tuple[int, int, int]) -> HeadChange:
    """Make the change that cuts off the air around a head as the pipeline does, and ``more`` voxels at its start.

    What is left begins that much later, and with it the blocks of voxels that the grid of work is made of.
    """

    def cut(head: Volume, _random: Random) -> Volume:
        box = find_content(raise_to_black(head).volume).box
        starts = [side.start + voxels for side, voxels in zip(box, more, strict=True)]
        x, y, z = (slice(start, side.stop) for start, side in zip(starts, box, strict=True))
        affine = head.affine.copy()
        affine[:3, 3] += head.affine[:3, :3] @ starts
        return Volume(head.voxels[x, y, z], affine)

    return cut


def rigid_motion(
    head: Volume, degrees: float, axis: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> Affine:
    """Return (4, 4) float64: a turn about an axis through the image's middle, then a shift; RAS+ mm to RAS+ mm."""
    middle = head.affine[:3, :3] @ ((np.array(head.shape) - 1) / 2) + head.affine[:3, 3]
    direction = np.array(axis, dtype=np.float64)
    turn = Rotation.from_rotvec(direction / np.linalg.norm(direction) * degrees, degrees=True).as_matrix()
    motion = np.eye(4)
    motion[:3, :3] = turn
    motion[:3, 3] = middle - turn @ middle + np.array(shift_mm)
    return motion
