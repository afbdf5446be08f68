"""A head is looked at where it is shown, however much air or padding lies around it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_pipeline.preprocessing.cropping import crop
from med3d_pipeline.preprocessing.image_content import find_content
from med3d_pipeline.volume import Volume
from rig.science import heads


def scan(air: float = 0.0) -> Volume:
    """Something brain-sized in the middle of its array, ``air`` as bright as that around it."""
    head = heads.phantom(spacing_mm=2.0)
    noise = np.random.default_rng(2).uniform(0, air, head.shape).astype(np.float32)
    return Volume(voxels=np.maximum(head.voxels, noise), affine=head.affine)


def padded(head: Volume, before: tuple[int, int, int], behind: tuple[int, int, int]) -> Volume:
    affine = head.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.array(before)
    return Volume(voxels=np.pad(head.voxels, list(zip(before, behind, strict=True))), affine=affine)


def shown(head: Volume) -> Volume:
    return crop(head, find_content(head).box)


sides = st.tuples(*[st.integers(0, 40)] * 3)


@settings(max_examples=15)
@given(before=sides, behind=sides, air=st.sampled_from([0.0, 4.0]))
def test_padding_of_any_width_shows_the_same_head_in_the_same_place(
    before: tuple[int, int, int], behind: tuple[int, int, int], air: float
) -> None:
    head = padded(scan(air), (6, 6, 6), (6, 6, 6))
    expected, found = shown(head), shown(padded(head, before, behind))
    assert np.array_equal(found.voxels, expected.voxels)
    assert np.allclose(found.affine, expected.affine)


def test_air_is_left_at_the_head_s_sides_and_no_more() -> None:
    wide = padded(scan(air=4.0), (30, 30, 30), (30, 30, 30))
    held = np.argwhere(scan().voxels > 20)
    extent = held.max(axis=0) - held.min(axis=0) + 1
    assert np.all(np.array(shown(wide).shape) >= extent)
    assert np.all(np.array(shown(wide).shape) <= extent + 12)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lost", [10, 20])
def test_a_head_whose_end_was_zero_filled_is_shown_as_one_whose_end_is_not_in_the_array(axis: int, lost: int) -> None:
    head = scan()
    end = int(np.flatnonzero(head.voxels.any(axis=tuple(a for a in range(3) if a != axis)))[-1]) - lost
    filled = np.moveaxis(head.voxels.copy(), axis, 0)
    filled[end:] = 0
    zeros = shown(Volume(voxels=np.moveaxis(filled, 0, axis), affine=head.affine))
    assert np.array_equal(zeros.voxels, shown(heads.cut_off(head, axis=axis, keep=slice(0, end))).voxels)
    assert zeros.voxels.take(-1, axis=axis).any()


def test_a_stray_bright_voxel_far_off_widens_nothing() -> None:
    head = padded(scan(), (20, 20, 20), (20, 20, 20))
    expected = find_content(head).box
    voxels = head.voxels.copy()
    voxels[2, 2, 2] = 1e5
    assert find_content(Volume(voxels=voxels, affine=head.affine)).box == expected


def test_slices_that_were_lost_are_counted_and_those_beside_the_head_are_not() -> None:
    head = padded(scan(), (9, 9, 9), (9, 9, 9))
    assert find_content(head).blank_slices_mm == 0
    voxels = head.voxels.copy()
    voxels[:, :, 50:55] = 0
    assert find_content(Volume(voxels=voxels, affine=head.affine)).blank_slices_mm == pytest.approx(10)


def test_a_little_noise_beyond_empty_air_makes_no_slice_a_lost_one() -> None:
    head = padded(scan(), (30, 30, 30), (30, 30, 30))
    voxels = head.voxels.copy()
    voxels[:40, :20, -2:] = 3
    assert find_content(Volume(voxels=voxels, affine=head.affine)).blank_slices_mm == 0


def test_an_image_that_shows_nothing_is_left_whole() -> None:
    nothing = Volume(voxels=np.zeros((8, 9, 10), np.float32), affine=np.eye(4))
    found = find_content(nothing)
    assert crop(nothing, found.box).shape == (8, 9, 10)
    assert found.blank_slices_mm == 0
