"""The model card says what the recipe and the cohort are, whatever these are."""

import json
from pathlib import Path

import pytest

from med3d_export.config import TrainingConfig, read_config
from med3d_export.experiment import kind_of
from med3d_export.releasing.model_card import model_card
from med3d_export.subjects.cohort import Cohort, CohortSubject

MODELS = Path(__file__).parents[4] / "model_export"
RECIPE = read_config(MODELS / "configs" / "infovae-two-sites.toml")
METRICS = json.loads((MODELS / "bundles" / "infovae-two-sites" / "manifest.json").read_text())["metrics"]


def cohort(sites: tuple[str, ...], count: int = 60) -> Cohort:
    return Cohort(
        tuple(
            CohortSubject(
                row + 2,
                f"P{row}",
                20.0 + 60.0 * row / count,
                "FM"[row % 2],
                sites[row // 2 % len(sites)],
                Path("head.nii"),
            )
            for row in range(count)
        )
    )


def card(config: TrainingConfig, people: Cohort) -> str:
    return " ".join(model_card(config, people, METRICS, "measured", 12.0).split())


def test_it_names_every_label_that_reaches_the_encoder():
    supervision = RECIPE.supervision.model_copy(update={"age_weight": 2.0, "sex_weight": 0.5})
    said = card(RECIPE.model_copy(update={"supervision": supervision}), cohort(("A", "B")))
    assert RECIPE.age_network is not None
    assert f"{RECIPE.age_network.members} small convolutional networks" in said
    assert "learn age (weight 2) and sex (weight 0.5) of the training subjects" in said
    alone = card(RECIPE, cohort(("A", "B")))
    assert "weight" not in alone.partition("The encoder is semi-supervised")[2].partition("The released latent")[0]
    assert "learn age (weight 2)" in card(
        RECIPE.model_copy(update={"supervision": supervision, "age_network": None}), cohort(("A", "B"))
    )


def test_it_names_the_folds_that_the_cohort_allowed():
    assert "5 outer folds, stratified by age, sex and site, " in card(RECIPE, cohort(("A", "B"), 160))
    # 60 people are too few for a stratum of each age, sex and site.
    assert "5 outer folds, stratified by age and site, " in card(RECIPE, cohort(("A", "B")))
    by_site = RECIPE.evaluation.model_copy(update={"split": "leave-one-site-out", "repeats": 1})
    said = card(RECIPE.model_copy(update={"evaluation": by_site}), cohort(("A", "B", "C")))
    assert "3 outer folds, one site left out at a time, 1 times" in said
    assert "All 4 fits together" in said
    assert "stratified" not in said


@pytest.mark.parametrize(
    ("objective", "name"), [({"kind": "wae-mmd", "l": 2.0, "decoder_sd": 0.1}, "WAE-MMD"), ({}, "InfoVAE")]
)
def test_it_names_the_objective_that_was_trained(objective, name):
    given = RECIPE.model_dump() | ({"objective": objective} if objective else {})
    said = card(TrainingConfig.model_validate(given), cohort(("A", "B")))
    assert f"{name} (" in said or f"{name} with" in said
    assert said.partition(" with a ")[0].endswith("InfoVAE (Zhao et al. 2019)") == (name == "InfoVAE")


def test_a_recipe_without_labels_is_unsupervised():
    said = card(RECIPE.model_copy(update={"age_network": None}), cohort(("A", "B")))
    assert "No label reached the encoder" in said


def test_a_hidden_site_is_no_label_that_was_learned():
    supervision = RECIPE.supervision.model_copy(update={"site_adversary_weight": 0.5})
    config = RECIPE.model_copy(update={"age_network": None, "supervision": supervision})
    assert kind_of(config) == "unsupervised"
    said = card(config, cohort(("A", "B")))
    assert "it is unsupervised. A head that learns the site (weight 0.5) has it hide the site." in said
    assert "semi-supervised" not in said
