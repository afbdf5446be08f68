"""The head older and younger, and years by region, on latents and heads whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest

from med3d_pipeline.errors import BundleError, InferenceError
from med3d_pipeline.explanation.ageing import ageing_pattern
from med3d_pipeline.explanation.explainer import Explainer
from med3d_pipeline.explanation.region_table import FILE, VENTRICLES, RegionTable
from med3d_pipeline.inference.encoder import LatentEncoder
from med3d_pipeline.inference.heads import RegressionHead
from rig.science.predictions import DIMENSION, GRID, FakeSession, latent_space

LATENT = np.zeros(DIMENSION, np.float32)


def head_of(estimate):
    return RegressionHead("brain age", FakeSession("estimate", estimate))


def region_table(**changes):
    fields = {
        "names": np.array([VENTRICLES, "white matter"]),
        "labels": np.array([[[1], [2]], [[2], [2]]], np.uint8),
        "middles": np.array([1.0, 2.0]),
        "slopes": np.array([0.1, 0.7]),
        "spreads": np.array([0.5, 1.5]),
        "mean_age_years": np.array(50.0),
        "fluid_threshold": np.array(0.5),
    }
    return RegionTable(**fields | changes)


def drawn(latents):
    return latents.reshape(len(latents), 1, *GRID)


def explainer(regions=None, decode=drawn):
    """The latent is the flattened head, the decoder its inverse; a year is a tenth of the first value."""
    return Explainer(
        LatentEncoder(FakeSession("latent", lambda t: t.reshape(len(t), DIMENSION)), GRID, DIMENSION),
        FakeSession("tensor", decode),
        head_of(lambda z: 50 + 10 * z[:, :1]),
        latent_space(distance_variances=np.full(2, 2.0)),
        regions,
        voxel_ml=0.5,
    )


def test_the_pattern_adds_a_year_and_follows_the_population_not_the_weights():
    # Two dimensions vary together in the population; the regression reads the first alone.
    axes = np.array([[1.0, 1.0, 0, 0], [1.0, -1.0, 0, 0]]) / np.sqrt(2)
    space = latent_space(distance_axes=axes, distance_variances=np.array([3.0, 1.5]), distance_floor=np.array(1.0))
    pattern = ageing_pattern(space, head_of(lambda z: 50 + 10 * z[:, :1]), LATENT)
    covariance = axes.T @ np.diag([2.0, 0.5]) @ axes
    np.testing.assert_allclose(pattern, 0.1 * covariance[:, 0] / covariance[0, 0], rtol=1e-4, atol=1e-7)
    assert pattern[1] > 0
    assert 10 * pattern[0] == pytest.approx(1.0, rel=1e-4)


def test_a_curved_regression_is_followed_along_its_tangent():
    space = latent_space(distance_variances=np.full(2, 2.0))
    at = np.array([2.0, 0, 0, 0], np.float32)
    pattern = ageing_pattern(space, head_of(lambda z: z[:, :1] ** 2), at)
    assert pattern[0] == pytest.approx(1 / 4, rel=1e-3)


@pytest.mark.parametrize("estimate", [lambda z: np.full((len(z), 1), 50.0), lambda z: 10 * z[:, 3:]])
def test_an_estimate_that_does_not_vary_in_the_population_has_no_pattern(estimate):
    assert ageing_pattern(latent_space(distance_variances=np.full(2, 2.0)), head_of(estimate), LATENT) is None


def test_ten_years_older_and_younger_are_opposite_and_nothing_is_darker_than_black():
    head = np.array([[[0.4], [1.0]], [[1.0], [1.0]]], np.float32)
    found = explainer().explain(head, 50.0)
    assert found.older[0, 0, 0] == pytest.approx(1.4, abs=1e-3)
    assert found.younger[0, 0, 0] == 0.0
    np.testing.assert_allclose(found.older[1], head[1], atol=1e-5)
    np.testing.assert_allclose(found.difference, found.older - head, atol=1e-5)
    assert found.attribution is None
    assert found.ventricles_ml is None


def test_regions_and_the_rest_add_up_to_the_gap_without_age_bias():
    head = np.array([[[0.8], [1.0]], [[0.3], [1.0]]], np.float32)
    found = explainer(region_table()).explain(head, 55.0).attribution
    assert found is not None
    # The bias of the rig's latent space: 10 - 0.2 age.
    assert found.total_years == pytest.approx(58.0 - 55.0 - (10 - 0.2 * 55))
    assert sum(one.years for one in found.regions) + found.rest_years == pytest.approx(found.total_years, abs=1e-5)
    assert [one.name for one in found.regions] == [VENTRICLES, "white matter"]


def test_what_is_usual_at_an_age_is_no_part_of_the_gap():
    effects = np.array([3.0, 4.0])
    table = region_table()
    np.testing.assert_allclose(effects - table.usual_years(None), [2.0, 2.0])
    np.testing.assert_allclose(effects - table.usual_years(60.0), [1.0, -5.0])


def test_a_head_like_the_mean_head_says_nothing_by_any_region():
    effects = explainer().region_effects(region_table(), np.zeros(GRID, np.float32), LATENT)
    np.testing.assert_allclose(effects, 0.0, atol=1e-6)


def test_effects_of_regions_that_act_alone_add_up_to_the_whole_difference():
    head = np.array([[[0.8], [1.0]], [[0.3], [1.0]]], np.float32)
    effects = explainer().region_effects(region_table(), head, head.reshape(-1))
    assert effects.sum() == pytest.approx(8.0, abs=1e-4)
    assert (effects > 0).all()


def test_ventricles_are_counted_where_they_may_be_and_dark():
    heads = np.zeros((2, *GRID), np.float32)
    heads[1] = 1.0
    np.testing.assert_array_equal(region_table().ventricle_voxels(heads), [1, 0])


def test_a_decoder_that_gives_no_numbers_is_a_fault():
    broken = explainer(decode=lambda z: np.full((len(z), 1, *GRID), np.nan))
    with pytest.raises(InferenceError, match="not finite"):
        broken.explain(np.ones(GRID, np.float32), None)


def test_the_table_is_read_as_it_was_written(tmp_path):
    table = region_table()
    table.save(tmp_path / FILE)
    read = RegionTable.load(tmp_path / FILE, GRID)
    for name in table.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(read, name), getattr(table, name))
    np.testing.assert_allclose(read.weights.sum(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.ones((2, 2, 2), np.uint8)},
        {"labels": np.zeros(GRID, np.uint8)},
        {"labels": np.full(GRID, 3, np.uint8)},
        {"spreads": np.array([1.0])},
        {"middles": np.array([1.0, np.nan])},
        {"names": np.array(["grey", "white matter"])},
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, wrong):
    replace(region_table(), **wrong).save(tmp_path / FILE)
    with pytest.raises(BundleError, match=r"explanation\.npz"):
        RegionTable.load(tmp_path / FILE, GRID)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"not an archive")
    with pytest.raises(BundleError, match=r"explanation\.npz"):
        RegionTable.load(tmp_path / FILE, GRID)
