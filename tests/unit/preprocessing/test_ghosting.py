"""Ghosts are seen where there is air beside the head, and nothing else is taken for one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_pipeline.preprocessing.measures.ghosting import measure_ghost
from med3d_pipeline.volume import Volume

SPACING_MM = 3.0
SHAPE = (80, 80, 80)


def places() -> np.ndarray:
    """(3, X, Y, Z) mm from the middle of the brain, which lies in the upper part of the image."""
    centre = np.array([40, 40, 44])
    return SPACING_MM * (np.indices(SHAPE) - centre[:, None, None, None])


def ball(radius_mm: float) -> np.ndarray:
    return np.linalg.norm(places(), axis=0) < radius_mm


def head(ghost: float = 0.0, axis: int = 0, moved_mm: float = 66.0, noise: float = 0.03, neck: bool = True) -> Volume:
    """A brain of brightness 100 and radius 60 mm under 15 mm of scalp, a neck below it, and a ghost of it all."""
    random = np.random.default_rng(3)
    picture = 100.0 * ball(60) + 60.0 * (ball(75) & ~ball(63))
    if neck:
        x, y, z = places()
        picture[(z < -40) & (np.hypot(x, y - 60) < 40)] = 80.0
    picture = picture + ghost * np.roll(picture, round(moved_mm / SPACING_MM), axis)
    noisy = np.hypot(picture + 100 * noise * random.normal(size=SHAPE), 100 * noise * random.normal(size=SHAPE))
    return Volume(noisy.astype(np.float32), np.diag([SPACING_MM] * 3 + [1.0]))


BRAIN = ball(60).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("neck", [True, False])
def test_a_head_without_a_ghost_has_none(noise: float, neck: bool) -> None:
    assert measure_ghost(head(noise=noise, neck=neck), BRAIN) < 0.03


@given(ghost=st.floats(0.05, 0.6), axis=st.sampled_from([0, 1]), moved_mm=st.floats(55, 185))
@settings(max_examples=25, deadline=None)
def test_a_ghost_s_share_is_measured_along_either_axis_and_however_far_it_lies(
    ghost: float, axis: int, moved_mm: float
) -> None:
    assert measure_ghost(head(ghost, axis, moved_mm, noise=0.005), BRAIN) == pytest.approx(ghost, rel=0.35, abs=0.02)


def test_a_ghost_above_the_crown_is_one() -> None:
    assert measure_ghost(head(0.3, axis=2, moved_mm=66), BRAIN) > 0.1


def test_an_image_without_air_shows_no_ghost() -> None:
    seen = head(0.3)
    inside = (slice(20, 60), slice(20, 60), slice(24, 64))
    assert measure_ghost(Volume(seen.voxels[inside], seen.affine), BRAIN[inside]) == 0.0


def test_an_image_of_one_block_is_measured_without_an_error() -> None:
    block = np.full((4, 4, 4), 50, np.float32)
    assert measure_ghost(Volume(block, np.diag([2.0, 2.0, 2.0, 1.0])), np.ones((4, 4, 4), np.uint8)) == 0.0


def test_no_brain_and_a_dark_brain_are_measured_without_an_error() -> None:
    seen = head()
    assert measure_ghost(seen, np.zeros_like(BRAIN)) == 0.0
    assert measure_ghost(Volume(np.zeros(SHAPE, np.float32), seen.affine), BRAIN) == 0.0
