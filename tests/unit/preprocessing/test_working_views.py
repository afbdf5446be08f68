"""The grids that a head's voxels can be averaged to, and what looking at all of them is good for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_pipeline.preprocessing.resampling import coarsening_factors
from med3d_pipeline.preprocessing.working_views import make_later_views
from med3d_pipeline.volume import Volume


def ramp(spacing_mm: tuple[float, float, float]) -> Volume:
    """A head whose voxels say where they lie: x + 100 y + 10000 z in mm."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-7, 3, 11)
    x, y, z = (spacing * np.arange(30) + at for spacing, at in zip(spacing_mm, affine[:3, 3], strict=True))
    return Volume((x[:, None, None] + 100 * y[None, :, None] + 10000 * z).astype(np.float32), affine)


@given(spacing=st.tuples(*[st.sampled_from([0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0])] * 3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_each_view_begins_one_voxel_later_and_says_where_it_lies(
    spacing: tuple[float, float, float], seed: int
) -> None:
    head = ramp(spacing)
    mask = (np.random.default_rng(seed).random(head.shape) > 0.5).astype(np.uint8)
    factors = coarsening_factors(head, 2.0)
    near = (slice(0, 30 // factors[0]), slice(1, 30 // factors[1]), slice(0, 30 // factors[2] - 1))
    views = list(make_later_views(head, mask, 2.0, near))
    begun = {1: [], 2: [1], 3: [1, 2], 4: [1, 2, 3], 8: [2, 4, 6]}[max(factors)]
    assert len(views) == len(begun)
    for later, view in zip(begun, views, strict=True):
        first = [side.start * factor + later % factor for side, factor in zip(near, factors, strict=True)]
        block = tuple(slice(at, at + factor) for at, factor in zip(first, factors, strict=True))
        assert view.share.voxels[0, 0, 0] == pytest.approx(mask[block].mean())
        x, y, z = view.head.affine[:3, 3]
        assert view.head.voxels[0, 0, 0] == pytest.approx(x + 100 * y + 10000 * z, rel=1e-5)
        assert np.array_equal(view.share.affine, view.head.affine)


def test_a_head_as_coarse_as_the_grid_has_one_view() -> None:
    head = ramp((2.0, 2.0, 2.0))
    everything = (slice(0, 30), slice(0, 30), slice(0, 30))
    assert list(make_later_views(head, np.ones(head.shape, np.uint8), 2.0, everything)) == []


def test_a_view_that_begins_behind_all_of_the_brain_is_left_out() -> None:
    head = ramp((1.0, 1.0, 1.0))
    mask = np.zeros(head.shape, np.uint8)
    mask[:, :, 0] = 1
    assert list(make_later_views(head, mask, 2.0, (slice(0, 15), slice(0, 15), slice(0, 15)))) == []
