"""From a synthetic cohort to a bundle that opens and reproduces itself, in about two minutes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from factories.phantoms import phantom_cohort, phantom_tensors
from med3d_export.assets import write_assets
from med3d_export.config import TrainingConfig
from med3d_export.cross_validation import FitData, everyone_job, fold_jobs, read_evidence, repeat_seeds, run_jobs
from med3d_export.evaluation.baseline_rows import baseline_estimates
from med3d_export.evaluation.held_out import held_out
from med3d_export.evaluation.protocol import Method, evaluate_method
from med3d_export.fold_evidence import BrainGrid
from med3d_export.folds import stratified_folds
from med3d_export.labels import Labels
from med3d_export.release import ReleaseError, ReleaseInput, release_bundle
from med3d_export.sdmt_simulation import simulate_sdmt
from med3d_export.supervision import Supervision
from med3d_export.training_run import load_final_fit
from med3d_pipeline.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.errors import BundleError
from med3d_pipeline.onnx_sessions import SessionOptions
from med3d_pipeline.prediction import Prediction, SubjectAttributes
from med3d_pipeline.preprocess import Preprocessor

# Third parties: deepbet ships TorchScript, and its instance norm and MONAI's sub-pixel shuffle can be exported by torch's
# older exporter only, which warns of itself, of Python numbers in traces and of constants that it folds.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:ONNX export mode is set to:UserWarning"),
]
SUBJECTS = 24
CONFIG = TrainingConfig.model_validate(
    {
        "name": "phantom", "version": "0", "seed": 5, "threads": 1,
        "network": {
            "encoder_channels": [4, 4, 8, 8], "decoder_channels": [2, 4, 8, 8], "linear_rank": 16, "latent": 32,
        },
        "objective": {"a": 0.5, "l": 2.0, "decoder_sd": 0.1, "bank": 16},
        "supervision": {"age_weight": 0.3},
        "optimiser": {"epochs": 3, "batch": 4, "learning_rate": 1e-3, "weight_decay": 0.01, "ema_decay": 0.8},
        "evaluation": {"outer_folds": 2, "inner_folds": 3, "repeats": 1, "interval_level": 0.8},
        "population": {
            "name": "phantoms", "description": "Synthetic.", "source": "MNI152", "licence": "MNI",
            "field_strengths_t": [3.0], "vendors": ["Nobody"],
        },
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Released:
    source: ReleaseInput
    bundle: Bundle


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    work = tmp_path_factory.mktemp("export")
    assets = work / "assets"
    spec = write_assets(assets).spec
    template = PreprocessingAssets(assets, SessionOptions(provider="cpu")).template()
    cohort = phantom_cohort(SUBJECTS, seed=1)
    tensors = phantom_tensors(cohort, template, spec, seed=2)
    ages = cohort.ages_years
    sdmt = simulate_sdmt(ages, np.random.default_rng(3).normal(1400, 100, SUBJECTS), seed=4)
    volumes = np.stack([ages, ages**2], 1)
    labels = Labels(cohort.participant_ids, ages, cohort.sexes, cohort.sites, sdmt, "simulated labels", volumes)
    splits = {seed: stratified_folds(cohort, 2, seed).folds for seed in repeat_seeds(CONFIG)}
    supervision = Supervision.of(cohort, CONFIG.supervision)
    jobs = fold_jobs(work / "run", (CONFIG,), splits)
    data = FitData(tensors, supervision, BrainGrid(tensors.mean(axis=0) > 0.1, 1.25))
    run_jobs(data, [*jobs, everyone_job(work / "run", CONFIG, SUBJECTS)], 2, lambda _name, _report: None)
    found = held_out(read_evidence(jobs), labels, 3)
    baselines = baseline_estimates(tensors, labels, splits, 3)
    report = evaluate_method(Method("phantom", "semi-supervised"), found, baselines, labels, CONFIG.evaluation, 5)
    source = ReleaseInput(CONFIG, cohort, tensors, labels, load_final_fit(work / "run"), report, found, assets)
    return Released(source, release_bundle(source, work / "bundle"))


def copied(released: Released, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(released.bundle.path, folder)
    return folder


@pytest.mark.timeout(600)
def test_the_release_agrees_with_training_and_reproduces_its_reference_case(released):
    metrics = released.bundle.manifest.metrics
    assert metrics["parity_networks"] < 1e-4
    assert metrics["parity_brain_age"] < 0.01
    report = Bundle.open(released.bundle.path, provider="cpu").run_reference_case()
    assert report.tensor_nrmse < 0.02


def test_held_out_phantoms_are_told_apart_by_age_better_than_by_the_mean(released):
    metrics = released.bundle.manifest.metrics
    assert metrics["brain_age_r"] > 0.5
    assert metrics["brain_age_mae"] < metrics["baseline_mean_only_mae"]


def test_every_subject_is_judged_by_models_that_have_not_seen_it(released):
    found, folds = released.source.found, released.source.found.folds[0]
    assert found.is_complete
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(SUBJECTS))
    assert not any(set(fold.test) & set(fold.training) for fold in folds)


def test_a_predictor_of_the_bundle_gives_what_training_gives(released):
    tensors, bundle = released.source.tensors[:3], released.bundle
    fitted = released.source.final.fitted(CONFIG)

    @dataclass(frozen=True)
    class Scanner:
        field_strength_t: float | None = 3.0
        manufacturer: str | None = "Nobody"

    answers = bundle.predictor().predict(tensors, [SubjectAttributes(50.0)] * 3, [Scanner()] * 3)
    for answer, latent in zip(answers, fitted.encode(tensors), strict=True):
        assert isinstance(answer, Prediction)
        np.testing.assert_allclose(answer.latent, latent, atol=1e-4 * np.abs(latent).max())
        assert answer.sdmt is not None
        assert answer.sdmt.evidence == "simulated labels"
        assert answer.sdmt.interval is None
    assert bundle.sdmt_is_demonstration


def test_an_altered_network_is_named(released, tmp_path):
    folder = copied(released, tmp_path)
    with (folder / "encoder.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01")
    with pytest.raises(BundleError, match=r"encoder\.onnx .* altered"):
        Bundle.open(folder)


def test_another_head_in_its_place_fails_the_reference_case_even_unverified(released, tmp_path):
    folder = copied(released, tmp_path)
    shutil.copyfile(folder / "heads" / "sdmt.onnx", folder / "heads" / "brain_age.onnx")
    with pytest.raises(BundleError, match="brain_age_years"):
        Bundle.open(folder, provider="cpu", verify=False).run_reference_case()


def test_a_folder_that_holds_something_is_not_written_over(released):
    with pytest.raises(ReleaseError, match="not empty"):
        release_bundle(released.source, released.bundle.path)


def test_the_bundles_own_preprocessing_is_what_training_used(released):
    assert isinstance(released.bundle.preprocessor(), Preprocessor)
    assert released.bundle.spec == PreprocessingAssets(released.source.assets, SessionOptions()).file.spec
