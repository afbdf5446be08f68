"""Where voxels lie stays what it was, whatever is done to their array."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.preprocessing.cropping import box_around, crop
from med3d_pipeline.preprocessing.itk_images import affine_of, image_of, to_array, to_image, to_transform
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.resampling import (
    FWHM_PER_SIGMA,
    block_means,
    coarsen,
    coarsening_factors,
    prefilter,
    resample,
    sample_linear,
    voxels_to_hold,
)
from med3d_pipeline.volume import Volume
from rig.examples import at_most
from rig.science import heads

orders = st.permutations([0, 1, 2]).map(tuple)
flips = st.tuples(st.booleans(), st.booleans(), st.booleans())


def small_volume() -> Volume:
    affine = np.array([[1.9, 0.1, 0.2, -20], [-0.1, 2.1, 0.3, 5], [-0.2, -0.3, 2.9, 7], [0, 0, 0, 1]])
    return Volume(voxels=np.random.default_rng(1).random((6, 5, 4), dtype=np.float32), affine=affine)


@given(order=orders, flip=flips)
def test_a_head_stored_with_other_axes_comes_back_the_same(
    order: tuple[int, int, int], flip: tuple[bool, bool, bool]
) -> None:
    head = small_volume()
    back = to_closest_ras(heads.stored_otherwise(head, order, flip))
    assert np.array_equal(back.voxels, head.voxels)
    assert np.allclose(back.affine, head.affine)


@given(order=orders, flip=flips)
def test_images_of_simpleitk_keep_voxels_and_place(order: tuple[int, int, int], flip: tuple[bool, bool, bool]) -> None:
    head = heads.stored_otherwise(small_volume(), order, flip)
    image = image_of(head)
    assert np.array_equal(to_array(image), head.voxels)
    assert np.allclose(affine_of(image), head.affine)


SIZES = st.tuples(*[st.integers(2, 12)] * 3)
FACTORS = st.tuples(*[st.integers(1, 2)] * 3)


@given(size=SIZES, factors=FACTORS, seed=st.integers(0, 2**32 - 1))
@at_most(40)
def test_means_of_blocks_have_the_bits_of_simpleitk_s(
    size: tuple[int, int, int], factors: tuple[int, int, int], seed: int
) -> None:
    voxels = np.random.default_rng(seed).integers(0, 4096, size).astype(np.float32)
    shrunk = sitk.BinShrink(to_image(voxels, np.eye(4)), factors)
    assert np.array_equal(block_means(voxels, factors), to_array(shrunk))


@given(shift=st.tuples(*[st.floats(-3, 3)] * 3), turn=st.floats(-0.3, 0.3))
@at_most(25)
def test_a_ramp_is_resampled_to_the_value_of_its_place(shift: tuple[float, float, float], turn: float) -> None:
    n = 24
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -23
    i, j, k = np.meshgrid(*[np.arange(n)] * 3, indexing="ij")
    places = np.einsum("ab,b...->a...", affine, np.stack([i, j, k, np.ones_like(i)]))
    ramp = Volume(voxels=(3 * places[0] - 2 * places[1] + places[2]).astype(np.float32), affine=affine)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    motion[:3, 3] = shift
    grid = np.diag([3.0, 3.0, 3.0, 1.0])
    grid[:3, 3] = -6
    sampled = sample_linear(ramp, (5, 5, 5), grid, motion)
    i, j, k = np.meshgrid(*[np.arange(5)] * 3, indexing="ij")
    seen = np.einsum("ab,b...->a...", motion @ grid, np.stack([i, j, k, np.ones_like(i)]))
    assert np.allclose(sampled, 3 * seen[0] - 2 * seen[1] + seen[2], atol=1e-3)


def test_coarse_voxels_are_means_and_lie_in_the_middle_of_what_they_average() -> None:
    head = heads.average_head()
    coarse, expected = coarsen(head, 2.0), heads.averaged_by_two(head)
    assert coarse.shape == expected.shape
    assert np.allclose(coarse.voxels, expected.voxels, rtol=1e-5, atol=1e-3)
    assert np.allclose(coarse.affine, expected.affine)


def test_a_volume_as_coarse_as_asked_for_is_left_alone() -> None:
    head = small_volume()
    assert coarsen(head, 2.0) is head


@given(
    spacing_mm=st.sampled_from([0.8, 1.0, 4 / 3, 1.5, 2.0, 2.4, 3.0, 4.0]),
    grid_mm=st.sampled_from([2.0, 3.0, 6.0, 12.0]),
    rounding=st.floats(-1e-6, 1e-6),
)
def test_a_millionth_in_the_header_counts_no_voxel_more_or_less(
    spacing_mm: float, grid_mm: float, rounding: float
) -> None:
    """2 mm are two and a half voxels of 0.8 mm, 12 mm are six of 2 mm: a last digit must not decide."""

    def counts(spacing: float) -> tuple[object, int]:
        head = Volume(voxels=np.zeros((2, 2, 2), np.float32), affine=np.diag([spacing] * 3 + [1.0]))
        return coarsening_factors(head, grid_mm), voxels_to_hold(grid_mm, spacing)

    assert counts(spacing_mm * (1 + rounding)) == counts(spacing_mm)


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0, 3.0])
def test_the_prefilter_makes_up_what_the_voxels_do_not_blur_already(spacing_mm: float) -> None:
    point = np.zeros((31, 3, 3), dtype=np.float32)
    point[15, 1, 1] = 1
    affine = np.diag([spacing_mm, 50.0, 50.0, 1.0])
    blurred = prefilter(Volume(voxels=point, affine=affine), fwhm_mm=6.0).voxels[:, 1, 1].astype(np.float64)
    at_mm = spacing_mm * (np.arange(31) - 15)
    variance = (blurred * at_mm**2).sum() / blurred.sum()
    assert variance + spacing_mm**2 / 12 == pytest.approx((6.0 / FWHM_PER_SIGMA) ** 2, rel=0.02)


def test_a_constant_stays_constant_through_prefilter_and_resampling() -> None:
    volume = Volume(voxels=np.full((20, 20, 20), 7, np.float32), affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    grid = np.diag([3.0, 3.0, 3.0, 1.0])
    grid[:3, 3] = 9
    assert np.allclose(resample(prefilter(volume, 4.0), (6, 6, 6), grid, np.eye(4)), 7, atol=1e-3)


@given(low=st.tuples(*[st.integers(0, 12)] * 3), step=st.integers(1, 4))
def test_the_box_around_a_brain_holds_it_and_begins_at_a_whole_step(low: tuple[int, int, int], step: int) -> None:
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[low[0] : low[0] + 5, low[1] : low[1] + 5, low[2] : low[2] + 5] = True
    box = box_around(mask, (2.0, 2.0, 2.0), margin_mm=6.0, steps=(step, step, step))
    assert mask[box].sum() == mask.sum()
    assert all(side.start % step == 0 and side.start >= 0 and side.stop <= 20 for side in box)
    cropped = crop(Volume(voxels=mask.astype(np.float32), affine=np.diag([2.0, 2.0, 2.0, 1.0])), box)
    first = np.argwhere(cropped.voxels > 0)[0]
    assert np.allclose(cropped.affine[:3, :3] @ first + cropped.affine[:3, 3], 2 * np.array(low))


def test_a_map_of_millimetres_survives_the_way_into_simpleitk() -> None:
    ras = small_volume().affine
    point = np.array([3.0, -4.0, 5.0])
    lps = np.array(to_transform(ras).TransformPoint((point * [-1, -1, 1]).tolist()))
    assert np.allclose(lps * [-1, -1, 1], ras[:3, :3] @ point + ras[:3, 3])


def test_all_orientations_of_the_average_head_give_one_array() -> None:
    head = coarsen(heads.average_head(), 8.0)
    expected = to_closest_ras(head)
    for order in itertools.permutations(range(3)):
        for flip in itertools.product([False, True], repeat=3):
            found = to_closest_ras(heads.stored_otherwise(head, order, flip))
            assert np.array_equal(found.voxels, expected.voxels)
