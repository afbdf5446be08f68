"""The search of the support vector regression."""

import numpy as np
import pytest

from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.heads import CodeScaler, HeadSpace, LabelledLatents, search_head, without_support_vectors

pytestmark = pytest.mark.export
WHOLE = 2


def given(local: bool) -> LabelledLatents:
    """Values that two numbers of the whole head say with noise, or one of thirty local ones."""
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(60, 32))
    values = latents[:, 20] if local else latents[:, 0] + latents[:, 1]
    people = np.array([f"s{number}" for number in range(60)])
    return LabelledLatents(latents, 10 * values + rng.normal(size=60), people)


def weight_of(latents: LabelledLatents) -> float:
    """What the search gave the local numbers, against those of the whole head: from the scales that it left."""
    scales = search_head(latents, 5, seed=1, space=HeadSpace(("linear",), WHOLE)).head.named_steps["scaler"].scale_
    return float(np.median(scales[:WHOLE] / latents.latents[:, :WHOLE].std(axis=0))) / float(
        np.median(scales[WHOLE:] / latents.latents[:, WHOLE:].std(axis=0))
    )


def test_the_search_gives_local_numbers_little_weight_where_the_whole_head_says_it_all():
    assert weight_of(given(local=False)) == pytest.approx(0.1, rel=0.01)


def test_the_search_leaves_local_numbers_their_weight_where_one_of_them_says_it():
    assert weight_of(given(local=True)) == pytest.approx(1.0, rel=0.01)


def test_a_plain_scaler_does_what_the_weighting_one_did():
    latents = given(local=False).latents
    scaler = CodeScaler(WHOLE, 0.3).fit(latents)
    np.testing.assert_allclose(scaler.plain().transform(latents), scaler.transform(latents))
    assert scaler.transform(latents)[:, WHOLE:].std() == pytest.approx(0.3)


def test_without_codes_of_the_whole_head_nothing_is_weighed():
    assert all("scaler__local_weight" not in space for space in HeadSpace().grid(8))


def test_copies_of_little_weight_hardly_move_what_true_heads_say():
    """Copies whose values say the opposite: with little weight the heads win, with full weight nobody does."""
    rng = np.random.default_rng(5)
    latents = rng.normal(size=(40, 4))
    people = np.array([f"s{number}" for number in range(40)])
    slopes = []
    for weight in (0.01, 1.0):
        given = LabelledLatents.of(latents, -latents[None], 5 * latents[:, 0], people, weight)
        head = search_head(given, 4, seed=1, space=HeadSpace(("linear",))).head
        slopes.append(float(head.predict(np.array([[1.0, 0, 0, 0]]))[0] - head.predict(np.zeros((1, 4)))[0]))
    assert slopes[0] == pytest.approx(5.0, abs=0.5)
    assert abs(slopes[1]) < 1.0


def test_whitened_numbers_count_by_how_far_heads_spread_in_them():
    """Two numbers say the value and sixty say nothing, all of one variance: only their spreads tell which is which."""
    rng = np.random.default_rng(7)
    latents, people = rng.normal(size=(90, 62)), np.array([f"s{number}" for number in range(90)])
    values = 10 * (latents[:, 0] + latents[:, 1]) + rng.normal(size=90)
    spreads = np.where(np.arange(62) < 2, 5.0, 0.1)
    own, new = slice(0, 45), slice(45, 90)
    errors = []
    for told in (None, spreads):
        learned = LabelledLatents(latents[own], values[own], people[own], spreads=told)
        head = search_head(learned, 5, seed=1, space=HeadSpace(("linear",), costs=(3.0,))).head
        errors.append(float(np.abs(head.predict(latents[new]) - values[new]).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_a_number_in_which_no_head_spreads_counts_for_nothing():
    latents = np.random.default_rng(8).normal(size=(30, 3))
    scaler = CodeScaler(spreads=np.array([1.0, 0.5, 0.0])).fit(latents)
    spread = scaler.plain().transform(latents).std(axis=0)
    assert spread[:2] == pytest.approx([1.0, 0.5])
    assert spread[2] < 1e-5


def seen_by_a_scanner_that_moves_one_number(copy_variance: float) -> tuple[float, float]:
    """Two numbers say the value alike, and copies move the second: error on true heads, and what a moved one shifts."""
    rng = np.random.default_rng(11)
    values = rng.normal(size=80)
    latents = values[:, None] + 0.3 * rng.normal(size=(80, 2))
    copies = latents + np.array([0.0, 4.0]) * rng.normal(size=(2, 80, 1))
    people = np.array([f"s{number}" for number in range(80)])
    learned = LabelledLatents.of(latents, copies, 10 * values, people, copy_weight=0.0)
    head = search_head(
        learned, 4, seed=1, space=HeadSpace(("linear",), costs=(0.03,), copy_variance=copy_variance)
    ).head
    np.testing.assert_allclose(without_support_vectors(head).predict(latents), head.predict(latents))
    error = np.abs(head.predict(latents) - 10 * values).mean()
    return float(error), float(np.abs(head.predict(copies[0]) - head.predict(latents)).mean())


def test_the_regression_leans_on_what_scanners_leave_alone():
    plain, steady = seen_by_a_scanner_that_moves_one_number(0.0), seen_by_a_scanner_that_moves_one_number(1.0)
    assert steady[1] < 0.25 * plain[1]
    assert steady[0] < 1.5 * plain[0]


def test_copies_that_only_steady_are_nothing_to_learn_from():
    latents = np.zeros((6, 2))
    learned = LabelledLatents.of(latents, latents[None] + 1.0, np.arange(6.0), np.arange(6), copy_weight=0.0)
    assert learned.latents.shape == (6, 2)
    assert learned.weights is None
    assert np.all(learned.differences == 1.0)


@pytest.mark.parametrize("settings", [{"head_kernels": ["linear"]}, {"head_copies": 3}])
def test_a_metric_of_copies_needs_copies_and_the_linear_kernel(settings):
    with pytest.raises(ValueError, match="head_copy_variance needs head_copies"):
        EvaluationConfig(head_copy_variance=0.1, **settings)
