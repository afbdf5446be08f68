"""The search of the support vector regression."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from med3d_export.config import read_config
from med3d_export.evaluation.age_heads import TrainingHeads, fit_age_head, fit_head
from med3d_export.evaluation.held_out import age_head
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.fold_evidence import AgedEvidence, FoldEvidence
from med3d_export.heads import CodeScaler, HeadSpace, LabelledLatents, search_head, without_support_vectors
from med3d_export.releasing.model_card import model_card
from med3d_export.subjects.cohort import Cohort, CohortSubject
from med3d_export.subjects.labels import Labels

pytestmark = pytest.mark.export
WHOLE = 2


def given(local: bool) -> LabelledLatents:
    """Values that two numbers of the whole head say with noise, or one of thirty local ones."""
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(60, 32))
    values = latents[:, 20] if local else latents[:, 0] + latents[:, 1]
    people = np.array([f"s{number}" for number in range(60)])
    return LabelledLatents(latents, 10 * values + rng.normal(size=60), people)


def aged(latent_noise: float, code_noise: float, count: int = 120) -> TrainingHeads:
    """A number of the latent knows the age, and the code does, each as well as its noise in years allows."""
    rng = np.random.default_rng(3)
    ages = rng.uniform(20, 80, count)
    latents = rng.normal(size=(count, 9))
    latents[:, 0] = (ages + rng.normal(0, latent_noise, count)) / 10
    latents[:, -1] = (ages + rng.normal(0, code_noise, count) - ages.mean()) / ages.std()
    return TrainingHeads(latents, latents[None] + 0.01, ages, np.arange(count), np.ones(9))


def test_an_age_is_told_by_networks_and_regression_as_far_as_each_knows_it():
    settings = EvaluationConfig(head_kernels=("linear",), head_copies=1, head_copy_weight=0.0)
    shares = {}
    for noises in ((6.0, 1.0), (6.0, 6.0), (1.0, 6.0)):
        heads = aged(*noises)
        found = fit_age_head(heads, settings, 5)
        shares[noises] = found.age_code_share
        said = found.head.predict(heads.latents)
        by_latent = fit_head(heads.without_age_code(), settings, 5).head.predict(heads.latents[:, :-1])
        by_code = heads.values.mean() + heads.values.std() * heads.latents[:, -1]
        np.testing.assert_allclose(said, shares[noises] * by_code + (1 - shares[noises]) * by_latent)
    assert shares[6.0, 1.0] > 0.9
    assert shares[1.0, 6.0] < 0.15
    assert 0.35 < shares[6.0, 6.0] < 0.75
    both, either = fit_age_head(aged(6.0, 6.0), settings, 5), fit_head(aged(6.0, 6.0).without_age_code(), settings, 5)
    assert both.inner_error < 0.9 * either.inner_error


def test_the_share_of_the_networks_is_found_without_a_persons_own_scans():
    """Every person twice: a regression that saw the other scan would know the age, and take the share for itself."""
    settings = EvaluationConfig(head_kernels=("linear",), head_costs=(30.0,), inner_folds=24)
    once, told = aged(30.0, 6.0, 12), np.random.default_rng(1).normal(size=(12, 60))
    latents = np.tile(np.concatenate([told, once.latents[:, -1:]], axis=1), (2, 1))
    twice = TrainingHeads(
        latents, np.empty((0, 24, 61)), np.tile(once.values, 2), np.tile(np.arange(12), 2), np.ones(61)
    )
    assert fit_age_head(twice, settings, 5).age_code_share > 0.6
    assert fit_age_head(replace(twice, people=np.arange(24)), settings, 5).age_code_share < 0.2


def test_where_networks_and_regression_agree_there_is_nothing_to_share():
    """All latents and ages alike: both tell the very same years, and no share is better than another."""
    settings, heads = EvaluationConfig(head_kernels=("linear",), head_costs=(0.3,)), aged(0.0, 0.0, 20)
    same = replace(heads, latents=np.zeros((20, 9)), values=np.full(20, 50.0), copies=np.empty((0, 20, 9)))
    found = fit_age_head(same, settings, 5)
    assert found.age_code_share == 0.0
    np.testing.assert_allclose(found.head.predict(same.latents), 50.0)


def test_a_fold_s_evidence_with_an_age_code_has_its_ages_told_by_both():
    settings, heads = EvaluationConfig(head_kernels=("linear",), head_costs=(0.3,)), aged(6.0, 6.0, 40)
    given = dict.fromkeys(field.name for field in fields(FoldEvidence)) | {
        "seed": 5, "training": np.arange(40), "latents": heads.latents, "copies": heads.copies,
        "code_spreads": heads.spreads,
    }  # fmt: skip
    words = heads.people.astype(str)
    labels = Labels(words, heads.values, words, words, np.full(40, np.nan), "none", None)
    assert age_head(FoldEvidence(**given), labels, settings).age_code_share == 0.0
    kept = replace(AgedEvidence(**given), latents=heads.latents)
    assert 0.2 < age_head(kept, labels, settings).age_code_share < 0.9


def test_the_card_says_how_much_of_an_age_the_networks_tell_and_what_its_minutes_leave_out():
    place = Path(__file__).parents[3] / "model_export"
    metrics = json.loads((place / "bundles" / "infovae-two-sites" / "manifest.json").read_text("utf-8"))["metrics"]
    config = read_config(place / "configs" / "infovae-two-sites.toml")
    people = (CohortSubject(n, f"p{n}", 20.0 + n, "FM"[n % 2], "HH", Path("head.nii")) for n in range(20))
    cohort = Cohort(tuple(people))
    card = " ".join(model_card(config, cohort, metrics | {"age_network_share": 0.57}, "some", 9.0).split())
    assert "57% theirs" in card
    assert "each as a network and a regression tell it that had not learned from it" in card
    assert "9 minutes, without the age networks" in card
    plain = config.model_copy(update={"age_network": None})
    metrics.pop("age_network_share", None)
    without = " ".join(model_card(plain, cohort, metrics, "some", 9.0).split())
    assert "theirs" not in without
    assert "took 9 minutes. " in without


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
