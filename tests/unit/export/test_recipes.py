from pathlib import Path

import pytest
from pydantic import ValidationError

import med3d_export
from med3d_export.config import GridConfig, read_config
from med3d_export.objectives import BetaVae
from med3d_export.releasing.assets import grid_spec
from med3d_pipeline.bundle.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

RECIPES = sorted((Path(med3d_export.__file__).parents[1] / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_every_recipe_that_comes_with_the_project_is_valid(path):
    recipe = read_config(path)
    halvings = len(recipe.network.encoder_channels)
    assert all(size % 2**halvings == 0 for size in recipe.grid.shape)


def test_a_recipe_without_a_grid_means_the_one_that_the_shipped_bundle_is_made_on():
    shipped = PreprocessingAssets(Bundle.default_path(), SessionOptions()).file.spec
    assert grid_spec(GridConfig()).digest() == shipped.digest()


def test_another_grid_has_another_digest_so_that_no_cached_tensor_is_mistaken():
    papers = GridConfig(shape=(128, 128, 128), spacing_mm=1.4, working_grid_mm=1.0)
    assert grid_spec(papers).digest() != grid_spec(GridConfig()).digest()


def test_a_recipe_takes_another_objective_and_changes_nothing_else():
    recipe = read_config(RECIPES[0])
    other = recipe.with_objective(BetaVae(kind="beta-vae", beta=4.0, decoder_sd=0.1))
    assert other.objective.kind == "beta-vae"
    assert other.model_copy(update={"objective": recipe.objective}) == recipe


def test_a_wrong_key_is_named(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPES[0].read_text(encoding="utf-8").replace("epochs =", "epoch ="), encoding="utf-8")
    with pytest.raises(ValidationError, match=r"optimiser\.epoch"):
        read_config(path)
