"""The recipes that come with the project."""

import json
import tomllib
from pathlib import Path

import pytest

from med3d_export.config import read_config
from med3d_pipeline.bundle.bundle import Bundle

CONFIGS = Path(__file__).parents[3] / "model_export" / "configs"
pytestmark = pytest.mark.export


def test_the_search_on_one_site_and_the_recipe_it_chose_differ_in_nothing_but_what_is_compared():
    released, searched = (
        tomllib.loads((CONFIGS / name).read_text()) for name in ("infovae-ixi-hh.toml", "infovae-ixi-hh-search.toml")
    )
    assert released.pop("comparison") != searched.pop("comparison")
    assert searched == released


def test_the_objective_of_the_recipe_for_one_site_is_one_that_was_searched():
    released, searched = (
        tomllib.loads((CONFIGS / name).read_text()) for name in ("infovae-ixi-hh.toml", "infovae-ixi-hh-search.toml")
    )
    assert released["objective"] in searched["comparison"]["variants"][0]["candidates"]


def test_the_shipped_bundle_is_the_one_that_its_recipe_names():
    recipe = read_config(CONFIGS / "infovae-two-sites.toml")
    manifest = json.loads((Bundle.default_path() / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"]) == (recipe.name, recipe.version)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_one_that_training_understands(path):
    assert read_config(path).name
