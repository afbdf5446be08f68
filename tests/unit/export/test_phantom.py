"""The phantoms show what their factors say, and a fit on them recovers it."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from med3d_export.config import TrainingConfig
from med3d_export.phantom.anatomy import PhantomAnatomy
from med3d_export.phantom.cohort import phantom_cohort, phantom_tensors, write_phantom_cohort
from med3d_export.phantom.factors import PhantomDesign, PhantomFactors, draw_factors
from med3d_export.phantom.heads import phantom_head
from med3d_export.phantom.recovery import FACTORS, ceilings, factor_table, recover_factors
from med3d_export.phantom.trial import VOXELS, PhantomTrial, write_recovery
from med3d_export.releasing.template import open_template
from med3d_export.report.recovery_figure import recovery_figure
from med3d_export.subjects.folds import leave_one_site_out, stratified_folds
from med3d_export.subjects.manifest_files import read_cohort
from med3d_export.subjects.tensor_cache import read_volume
from med3d_pipeline.bundle.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.preprocessing.spec import PreprocessSpec
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

DESIGN = PhantomDesign()
COARSE = PreprocessSpec(shape=(32, 32, 32), spacing_mm=6.0)


@pytest.fixture(scope="module")
def anatomy() -> PhantomAnatomy:
    return PhantomAnatomy.of(open_template())


def one(**changed: float) -> PhantomFactors:
    """A single person with none of the factors but those named."""
    nobody = {"ventricle_mm": 0.0, "atrophy_mm": 0.0, "lesion_ml": 0.0, "log_gamma": 0.0} | changed
    return replace(draw_factors(1, 0, DESIGN), **{name: np.array([value]) for name, value in nobody.items()})


def head(anatomy: PhantomAnatomy, **changed: float) -> np.ndarray:
    return phantom_head(anatomy, one(**changed), 0, replace(DESIGN, noise=0.0, own_mm=0.0), seed=1).voxels


def ventricles_ml(voxels: np.ndarray) -> float:
    deep = ndimage.distance_transform_edt(voxels > 0) * 2.0 > 18.0
    return float(((voxels < 0.5) & deep).sum() * 8 / 1000)


def test_ventricles_grow_with_their_factor_and_with_nothing_else(anatomy):
    volumes = [ventricles_ml(head(anatomy, ventricle_mm=mm)) for mm in (0.0, 1.0, 2.0, 4.0)]
    assert volumes == sorted(volumes)
    assert volumes[-1] > volumes[0] + 10
    assert ventricles_ml(head(anatomy, atrophy_mm=2.0)) == pytest.approx(volumes[0], rel=0.25)


def test_the_surface_recedes_with_atrophy_by_about_the_stated_distance(anatomy):
    radius = [(3 / (4 * np.pi) * (head(anatomy, atrophy_mm=mm) > 0.5).sum() * 8) ** (1 / 3) for mm in (0.0, 2.0)]
    assert radius[0] - radius[1] == pytest.approx(2.0, abs=1.0)


def test_lesions_take_about_their_volume_of_white_matter(anatomy):
    clean, lesioned = head(anatomy), head(anatomy, lesion_ml=8.0)
    darkened_ml = (lesioned < 0.8 * clean).sum() * 8 / 1000
    assert 3.0 < darkened_ml < 12.0
    assert ((lesioned < 0.8 * clean) & (clean < 0.8)).sum() < 0.1 * (lesioned < 0.8 * clean).sum()


def test_a_site_bends_the_contrast_and_moves_nothing(anatomy):
    plain, bent = head(anatomy), head(anatomy, log_gamma=0.2)
    np.testing.assert_array_equal(plain > 0, bent > 0)
    np.testing.assert_allclose(bent, plain ** np.exp(0.2), atol=1e-5)


def test_the_made_up_life_is_tied_together_as_the_design_says():
    factors = draw_factors(2000, 1, DESIGN)
    assert np.corrcoef(factors.ages_years, factors.ventricle_mm)[0, 1] > 0.9
    assert abs(np.corrcoef(factors.ages_years, factors.lesion_ml)[0, 1]) < 0.1
    assert np.corrcoef(np.log1p(factors.lesion_ml), factors.sdmt)[0, 1] < -0.6
    assert np.corrcoef(factors.log_gamma, factors.sites == "B")[0, 1] > 0.9
    assert set(factors.sexes) == {"F", "M"}


def test_what_is_written_is_a_cohort_that_splits_by_site_and_the_same_seed_writes_the_same_bytes(tmp_path):
    factors = draw_factors(4, 3, DESIGN)
    manifests = [
        write_phantom_cohort(factors, open_template(), tmp_path / name, 3, DESIGN) for name in ("one", "other")
    ]
    cohort = read_cohort(manifests[0].parent, least_subjects=4)
    np.testing.assert_allclose(cohort.ages_years, factors.ages_years, atol=1e-3)
    np.testing.assert_allclose(cohort.sdmt, factors.sdmt, atol=0.01)
    assert [fold.name for fold in leave_one_site_out(cohort).folds] == ["A", "B"]
    with (tmp_path / "one" / "factors.csv").open(encoding="utf-8") as file:
        stored = [float(row["ventricle_mm"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(stored, factors.ventricle_mm)
    for path in sorted((tmp_path / "one").rglob("*.nii.gz")):
        assert path.read_bytes() == (tmp_path / "other" / "t1w" / path.name).read_bytes()


def test_a_phantom_passes_the_real_preprocessing_which_agrees_with_the_short_way(tmp_path):
    factors = draw_factors(1, 5, DESIGN)
    manifest = write_phantom_cohort(factors, open_template(), tmp_path, 5, DESIGN)
    assets = PreprocessingAssets(Bundle.default_path(), SessionOptions(threads=1))
    made = assets.preprocessor()(read_volume(next((manifest.parent / "t1w").iterdir())))
    verdict = judge_quality(made.measures, assets.file.quality_limits)
    assert verdict.refusal is None
    assert verdict.review_reasons == ()
    short = phantom_tensors(factors, open_template(), assets.file.spec, 5, DESIGN)[0]
    assert np.corrcoef(made.tensor.ravel(), short.ravel())[0, 1] > 0.9


def test_ceilings_are_one_for_what_shapes_the_image_and_below_it_for_what_lies_behind():
    factors = draw_factors(400, 2, DESIGN)
    found = dict(zip(FACTORS, ceilings(factor_table(factors), folds_of(factors)), strict=True))
    assert 0.9 < found["age_years"] < 1.0
    assert 0.5 < found["sdmt"] < 0.95
    assert found["ventricle_mm"] == 1.0


def folds_of(factors: PhantomFactors):
    return stratified_folds(phantom_cohort(factors, Path()), 2, 1).folds


def test_a_method_that_knows_more_is_told_from_the_reference_and_equals_are_not():
    factors = draw_factors(200, 2, DESIGN)
    truth = factor_table(factors)
    noise = np.random.default_rng(1).standard_normal((2, 3, *truth.shape)) * truth.std(axis=0)
    estimates = {"reference": truth + 0.5 * noise[0], "worse": truth + 0.8 * noise[1], "equal": truth - 0.5 * noise[0]}
    found = {one.method: one for one in recover_factors(estimates, truth, folds_of(factors), "reference", 1)}
    for factor in FACTORS:
        assert found["reference"].score(factor).r2.value == pytest.approx(0.75, abs=0.06)
        assert found["reference"].score(factor).versus_reference is None
        assert found["worse"].score(factor).versus_reference.difference.lower > 0
        equal = found["equal"].score(factor).versus_reference.difference
        assert equal.lower <= 1e-9
        assert equal.upper >= -1e-9


def smoke_recipe() -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "name": "smoke", "version": "0", "seed": 7, "threads": 1,
            "grid": {"shape": COARSE.shape, "spacing_mm": COARSE.spacing_mm},
            "network": {
                "encoder_channels": [4, 8, 16], "decoder_channels": [4, 8, 16], "linear_rank": 24, "latent": 48,
            },
            "objective": {"a": 0.5, "l": 10.0, "decoder_sd": 0.1, "bank": 32},
            "optimiser": {"epochs": 4, "batch": 8, "learning_rate": 1e-3, "weight_decay": 0.01, "ema_decay": 0.8},
            "phantom": {
                "count": 36, "folds": 2, "seeds": 1,
                "variants": {
                    "vae": {"kind": "vae", "decoder_sd": 0.1},
                },
            },
            "population": {
                "name": "phantoms", "description": "x", "source": "x", "licence": "x", "field_strengths_t": [3.0],
                "vendors": ["x"],
            },
        }
    )  # fmt: skip


@pytest.mark.timeout(200)
def test_the_latent_recovers_age_ventricles_atrophy_and_site_but_not_beyond_the_ceiling(tmp_path):
    trial = PhantomTrial.prepared(smoke_recipe(), open_template(), COARSE, DESIGN)
    found = {one.method: one for one in trial.run()}
    assert set(found) == {"infovae", "vae", VOXELS}
    for method in ("infovae", "vae"):
        for factor in ("age_years", "ventricle_mm", "atrophy_mm", "log_gamma"):
            score = found[method].score(factor)
            assert 0.5 < score.r2.value < score.ceiling + 0.05, (method, factor)
    write_recovery(tuple(found.values()), tmp_path)
    assert "| ceiling | 0.9" in (tmp_path / "recovery.md").read_text(encoding="utf-8")
    assert (tmp_path / "recovery.json").is_file()
    with Image.open(recovery_figure(tuple(found.values()), tmp_path / "recovery.png")) as picture:
        assert np.asarray(picture.convert("L")).std() > 5
