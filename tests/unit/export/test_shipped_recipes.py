"""The recipes that come with the project."""

import tomllib
from pathlib import Path

import pytest

from med3d_export.config import read_config

CONFIGS = Path(__file__).parents[3] / "model_export" / "configs"
pytestmark = pytest.mark.export


def test_the_search_and_the_shipped_recipe_differ_in_nothing_but_what_is_compared():
    released, searched = (
        tomllib.loads((CONFIGS / name).read_text()) for name in ("infovae-ixi-hh.toml", "infovae-ixi-hh-search.toml")
    )
    assert released.pop("comparison") != searched.pop("comparison")
    assert searched == released


def test_the_shipped_objective_is_one_that_was_searched():
    released, searched = (
        tomllib.loads((CONFIGS / name).read_text()) for name in ("infovae-ixi-hh.toml", "infovae-ixi-hh-search.toml")
    )
    assert released["objective"] in searched["comparison"]["variants"][0]["candidates"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_one_that_training_understands(path):
    assert read_config(path).name
