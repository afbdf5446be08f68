from pathlib import Path

import pytest
from pydantic import ValidationError

import med3d_export
from med3d_export.config import GridConfig, RecipeError, read_config
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


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("shape = [32, 32, 32]", "shape = [0, 32, 32]", r"grid\.shape"),
        ("shape = [32, 32, 32]", "shape = [32, 32, 24]", r"grid\.shape must be multiples of 16"),
        ("spacing_mm = 6.0", "spacing_mm = 6.0\nworking_grid_mm = 9.0", "working_grid_mm is at most spacing_mm, 6"),
        ("learning_rate = 2e-3", "learning_rate = inf", r"optimiser\.learning_rate"),
        ("refuse_factor = 2.0", "refuse_factor = nan", r"decision\.refuse_factor"),
        ("[evaluation]", "[age_network]\nmargin = [0, 16, 0]\n[evaluation]", r"age_network\.margin must leave"),
        ("[evaluation]", "[age_network]\nmargin = [0, 1, 0]\n[evaluation]", r"age_network\.margin must leave"),
        ("[evaluation]", "[age_network]\n[evaluation]", r"age_network needs evaluation\.head_kernels"),
    ],
)
def test_what_no_network_could_work_with_is_named_before_anything_is_made(tmp_path, before, after, named):
    path = tmp_path / "recipe.toml"
    text = RECIPES[0].with_name("phantom-smoke.toml").read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ValidationError, match=named):
        read_config(path)


@pytest.mark.parametrize("content", [b"[grid", b"seed = 1\nseed = 2", b'name = "\xe9"'])
def test_a_recipe_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml cannot be read as TOML"):
        read_config(path)
