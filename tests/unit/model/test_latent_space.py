import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.latent_space import LatentSpace, conformal_quantile
from rig.science.predictions import latent_space


def test_what_was_saved_is_what_is_loaded(tmp_path):
    space = latent_space()
    space.save(tmp_path / "latent_space.npz")
    loaded = LatentSpace.load(tmp_path / "latent_space.npz")
    for field in fields(space):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(space, field.name))


def test_a_pickled_array_is_not_opened(tmp_path):
    np.savez(tmp_path / "latent_space.npz", pca_mean=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match=r"latent_space\.npz"):
        LatentSpace.load(tmp_path / "latent_space.npz")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "latent_space.npz").write_bytes(b"not an archive")
    with pytest.raises(BundleError, match=r"latent_space\.npz"):
        LatentSpace.load(tmp_path / "latent_space.npz")


@pytest.mark.parametrize(
    "wrong",
    [
        {"pca_axes": np.zeros((2, 3))},
        {"residuals": np.full(19, np.nan)},
        {"residuals": np.zeros(18)},
        {"distance_floor": np.zeros(())},
        {"distance_variances": np.array([1.0, 0.0])},
    ],
)
def test_an_array_that_is_misshapen_or_not_finite_is_refused(tmp_path, wrong):
    replace(latent_space(), **wrong).save(tmp_path / "latent_space.npz")
    with pytest.raises(BundleError):
        LatentSpace.load(tmp_path / "latent_space.npz")


def test_the_distance_is_mahalanobis_along_the_axes_and_scaled_across_them():
    space = replace(latent_space(), distance_variances=np.array([4.0, 1.0]), distance_floor=np.array(0.25))
    latents = np.array([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(space.distance(latents), [1.0, 2.0, 4.0, 0.0])


def test_the_percentile_counts_held_out_subjects_that_lie_nearer():
    space = latent_space(subjects=20)
    assert space.percentile(0.0) == 0.0
    assert space.percentile(2.51) == 50.0
    assert space.percentile(99.0) == 100.0


def test_too_few_residuals_for_the_level_give_no_finite_interval():
    assert conformal_quantile(np.arange(5.0), 0.9) == math.inf


@given(st.lists(st.floats(-50, 50), min_size=20, max_size=60), st.floats(0.5, 0.9))
def test_at_least_the_stated_share_of_residuals_lies_inside(residuals, level):
    values = np.array(residuals)
    inside = np.mean(np.abs(values) <= conformal_quantile(values, level))
    assert inside >= level


@pytest.mark.parametrize(("level", "width"), [(0.9, 9.0), (0.5, 5.0), (0.45, 5.0), (0.901, math.inf), (0.1, 1.0)])
def test_the_half_width_is_the_stated_order_statistic_of_the_absolute_residuals(level, width):
    assert conformal_quantile(np.array([-9.0, 1, -2, 3, -4, 5, -6, 7, -8]), level) == width


def test_each_interval_comes_from_its_own_residuals():
    of = {"residuals": 1.0, "corrected_residuals": 2.0, "sdmt_residuals": 3.0}
    space = replace(latent_space(), **{name: np.full(20, value) for name, value in of.items()})
    widths = space.half_width(0.9), space.corrected_half_width(0.9), space.sdmt_half_width(0.9)
    assert widths == (1.0, 2.0, 3.0)


def test_a_gap_is_corrected_by_what_the_age_alone_explains():
    space = replace(latent_space(), age_bias=np.array([1.5, -0.25]))
    assert space.corrected_gap(10.0, 40.0) == 18.5
    assert space.corrected_gap(-3.25, 0.0) == -4.75


def test_subjects_as_far_away_or_shown_as_badly_are_not_nearer():
    measured = np.array([1.0, 2.0, 2.0, 4.0])
    space = replace(latent_space(), held_out_distances=measured, held_out_reconstruction_errors=measured)
    for percentile in (space.percentile, space.reconstruction_percentile):
        assert [percentile(value) for value in (1.0, 2.0, 3.0, 4.0, 5.0)] == [0.0, 25.0, 75.0, 75.0, 100.0]
