import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from med3d_pipeline.preprocessing.even_sampling import Shape, even_slabs, sample_evenly, where_above
from med3d_pipeline.preprocessing.itk_images import to_array, to_image
from med3d_pipeline.volume import Voxels

# The general resampler reads beyond an axis of one voxel, so it is no witness there.
SIZES = st.integers(min_value=2, max_value=19)
SHAPES = st.tuples(SIZES, SIZES, SIZES)


def itk_sample_evenly(voxels: Voxels, shape: Shape) -> NDArray[np.float32]:
    """The same cells by a general resampler."""
    cells = np.diag([size / n for size, n in zip(voxels.shape, shape, strict=True)] + [1.0])
    cells[:3, 3] = (np.diag(cells)[:3] - 1) / 2
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(to_image(np.zeros(shape, dtype=np.uint8), cells))
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    sampled: NDArray[np.float32] = to_array(resampler.Execute(to_image(voxels, np.eye(4))))
    return sampled


@given(size=SHAPES, shape=SHAPES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_three_passes_of_two_neighbours_are_one_of_eight(size: Shape, shape: Shape, seed: int) -> None:
    voxels = np.random.default_rng(seed).random(size, dtype=np.float32)
    assert np.allclose(sample_evenly(voxels, shape), itk_sample_evenly(voxels, shape), atol=2e-6)


def test_doubling_keeps_a_ramp_and_the_middle() -> None:
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None, None], (10, 6, 6)).copy()
    doubled = sample_evenly(ramp, (20, 6, 6))
    assert np.allclose(doubled[1:-1, 0, 0], (np.arange(20)[1:-1] + 0.5) / 2 - 0.5, atol=1e-5)
    assert doubled.mean() == pytest.approx(ramp.mean())


def test_a_grid_of_the_same_size_is_the_image_itself() -> None:
    voxels = np.random.default_rng(1).random((7, 5, 6), dtype=np.float32)
    assert np.array_equal(sample_evenly(voxels, (7, 5, 6)), voxels)


def test_slabs_come_in_order_and_as_many_as_asked_for() -> None:
    voxels = np.random.default_rng(2).random((6, 5, 4), dtype=np.float32)
    slabs = [slab.copy() for slab in even_slabs(voxels, (9, 3, 8))]
    assert np.array_equal(np.stack(slabs), sample_evenly(voxels, (9, 3, 8)))


@given(size=SHAPES, shape=SHAPES, seed=st.integers(0, 2**32 - 1), dark=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_what_lies_above_a_threshold_is_found_without_looking_elsewhere(
    size: Shape, shape: Shape, seed: int, dark: float
) -> None:
    random = np.random.default_rng(seed)
    voxels = random.random(size, dtype=np.float32)
    voxels[: int(dark * size[0])] = 0.5
    voxels[:, :, int((1 - dark / 2) * size[2]) :] = 0.25
    assert np.array_equal(where_above(voxels, shape, 0.5), sample_evenly(voxels, shape) > 0.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_voxel_that_no_cell_of_a_coarse_grid_sees_is_above_nowhere(axis: int) -> None:
    size, shape = [4, 4, 4], [4, 4, 4]
    size[axis], shape[axis] = 8, 2
    voxels = np.zeros(size, dtype=np.float32)
    voxels[*(np.s_[-1] if own == axis else np.s_[:] for own in range(3))] = 1.0
    assert not where_above(voxels, (shape[0], shape[1], shape[2]), 0.5).any()
