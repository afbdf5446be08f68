"""The smoke recipe on a phantom cohort, from training to a bundle that reproduces itself: each figure has its sign."""

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from med3d_export.age_codes import ask_members
from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.age_network.fitting import ask
from med3d_export.age_network.members import AgeMembers, member_file, read_members
from med3d_export.age_network.plan import AgePlan
from med3d_export.age_network.run import fit_missing
from med3d_export.config import read_config
from med3d_export.evaluation.baseline_rows import AGE_AND_SEX, MEAN_ONLY
from med3d_export.experiment import Experiment, Scored
from med3d_export.phantom.cohort import phantom_cohort, phantom_tensors
from med3d_export.phantom.factors import PhantomDesign, PhantomFactors, draw_factors
from med3d_export.releasing.assets import write_assets
from med3d_export.releasing.model_card import UNKNOWN_SITES
from med3d_export.releasing.new_bundle import ReleaseError
from med3d_export.releasing.onnx_export import export_autoencoder
from med3d_export.releasing.promotion import KnownScanner, compare_judgements, judge, put_in_place
from med3d_export.report.promotion_report import write_promotion
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.folds import Indices
from med3d_export.subjects.tensor_cache import PreparedCohort
from med3d_export.training import Tensors, TrainingError
from med3d_export.training_run import RunIncomplete, load_final_fit
from med3d_pipeline.bundle.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.prediction import Prediction, SubjectAttributes
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

# Third parties: deepbet ships TorchScript, and its instance norm and MONAI's sub-pixel shuffle can be exported by torch's
# older exporter only, which warns of itself, of Python numbers in traces and of constants that it folds.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:ONNX export mode is set to:UserWarning"),
]
RECIPE = Path(__file__).parents[3] / "model_export" / "configs" / "phantom-smoke.toml"
DOCS = RECIPE.parents[2] / "docs"
SUBJECTS = 48
CONFIG = read_config(RECIPE)


@dataclass(frozen=True)
class PhantomExperiment(Experiment):
    """The phantoms' tensors come from their factors at once; preprocessing 48 heads would take longer than the rest."""

    @cached_property
    def factors(self) -> PhantomFactors:
        return draw_factors(SUBJECTS, CONFIG.seed, PhantomDesign())

    def cohort(self) -> Cohort:
        return phantom_cohort(self.factors, self.cache)

    def prepare(self) -> PreparedCohort:
        return PreparedCohort(self._tensors, {})

    @cached_property
    def _tensors(self) -> Tensors:
        spec = write_assets(self.assets, self.config.grid).spec
        template = PreprocessingAssets(self.assets, SessionOptions(provider="cpu")).template
        return phantom_tensors(self.factors, template, spec, CONFIG.seed, PhantomDesign())


@dataclass(frozen=True, eq=False)
class Released:
    experiment: PhantomExperiment
    scored: Scored
    run: Path
    bundle: Bundle


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    work = tmp_path_factory.mktemp("export")
    experiment = PhantomExperiment(CONFIG, work, work / "cache", jobs=1)
    experiment.train(work / "run")
    scored = experiment.report(work / "run")
    return Released(experiment, scored, work / "run", experiment.release(work / "run", scored, work / "bundle"))


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


def test_each_figure_of_the_evaluation_has_the_sign_that_the_phantoms_give_it(released):
    report = released.scored.report
    rows, points = ({row.name: row.raw for row in part} for part in (report.age, report.sdmt))
    ours, sdmt, latent = rows[CONFIG.name], points[CONFIG.name], report.latent
    assert ours.mae.value < rows[MEAN_ONLY].mae.value
    assert (ours.r.lower, ours.r2.value) > (0.0, 0.0)
    assert rows[MEAN_ONLY].gap_slope.value < ours.gap_slope.value < 0.1
    corrected = report.age[0].corrected
    assert corrected is not None
    assert abs(corrected.gap_slope.value) < 0.3
    assert sdmt.mae.value < 1.1 * points[MEAN_ONLY].mae.value
    assert points[AGE_AND_SEX].r.value > 0
    assert report.sdmt_evidence != "simulated labels"
    assert (latent.pls.r > latent.pls.null_95, latent.pls.p < 0.05) == (True, True)
    assert latent.site is not None
    assert latent.site[0] > latent.site[1]  # the sites' contrast is in the image
    assert latent.sex_auc is not None
    assert latent.sex_auc.lower < 0.7  # nothing of a phantom tells its sex
    assert 0 < latent.ssim_brain.value < 1
    assert 0 < latent.ssim_whole.value < 1
    assert 0 < latent.psnr_brain.value < latent.psnr_whole.value
    assert latent.coverage["all"].lower <= CONFIG.evaluation.interval_level <= latent.coverage["all"].upper
    assert report.against[MEAN_ONLY].difference.upper < 0
    assert report.detectable_years > 0


def test_every_subject_is_judged_by_models_that_have_not_seen_it(released):
    found, folds = released.scored.found, released.scored.found.folds[0]
    assert found.is_complete
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(SUBJECTS))
    assert not any(set(fold.test) & set(fold.training) for fold in folds)


def test_a_predictor_of_the_bundle_gives_what_training_gives(released):
    tensors, bundle = released.experiment.prepare().tensors[:3], released.bundle
    fitted = load_final_fit(released.run).fitted(CONFIG)
    scanner = KnownScanner(3.0, "Nobody")
    answers = bundle.predictor().predict(tensors, [SubjectAttributes(50.0)] * 3, [scanner] * 3)
    for answer, latent in zip(answers, fitted.encode(tensors), strict=True):
        assert isinstance(answer, Prediction)
        np.testing.assert_allclose(answer.latent, latent, atol=1e-4 * np.abs(latent).max())
        assert answer.sdmt is not None
        assert answer.sdmt.interval is not None
    assert not bundle.sdmt_is_demonstration


def test_an_altered_network_is_named(released, tmp_path):
    folder = copied(released, tmp_path)
    with (folder / "encoder.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01")
    with pytest.raises(BundleError, match=r"encoder\.onnx .* altered"):
        Bundle.open(folder)


def test_a_head_that_is_a_year_off_fails_the_reference_case_even_unverified(released, tmp_path):
    folder = copied(released, tmp_path)
    path = folder / "heads" / "brain_age.onnx"
    model = onnx.load(path)
    (machine,) = (node for node in model.graph.node if node.op_type == "SVMRegressor")
    (rho,) = (attribute for attribute in machine.attribute if attribute.name == "rho")
    rho.floats[0] += 1.0
    onnx.save(model, path)
    with pytest.raises(BundleError, match="brain_age_years"):
        Bundle.open(folder, provider="cpu", verify=False).run_reference_case()


def test_a_folder_that_holds_something_is_not_written_over(released):
    with pytest.raises(ReleaseError, match="not empty"):
        released.experiment.release(released.run, released.scored, released.bundle.path)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_private_bundle_answers_without_a_latent_of_any_training_subject(released, tmp_path):
    experiment = released.experiment.with_linear_heads()
    bundle = experiment.release(released.run, experiment.evaluate(released.run), tmp_path / "bundle", private=True)
    assert "decoder.onnx" not in bundle.manifest.files
    with np.load(bundle.path / "latent_space.npz") as space:
        assert all(space[name].shape == (0, 2) for name in ("cohort_pca", "cohort_pls_age", "cohort_pls_sdmt"))
    latents = load_final_fit(released.run).fitted(CONFIG).encode(experiment.prepare().tensors)
    for name in ("brain_age", "sdmt"):
        head = onnx.load(bundle.path / "heads" / f"{name}.onnx")
        assert "SVMRegressor" not in {node.op_type for node in head.graph.node}
        assert len(head.SerializeToString()) < latents.nbytes / 2
    (answer,) = bundle.predictor().predict(
        experiment.prepare().tensors[:1], [SubjectAttributes(50.0)], [KnownScanner(3.0, "Nobody")]
    )
    assert isinstance(answer, Prediction)


def test_a_model_card_says_that_there_is_no_correction_for_sites(released):
    card = (released.bundle.path / "docs" / "README.md").read_text()
    assert "**no correction for sites**" in card
    assert f"balanced accuracy of {released.scored.report.latent.site[0]:.2f}" in card


def test_a_model_card_says_where_repeatability_is_told(released):
    assert "docs/model/repeatability.md" in (released.bundle.path / "docs" / "README.md").read_text()


def test_what_the_card_says_of_unknown_sites_is_what_was_measured():
    rows = [line.split(" | ") for line in (DOCS / "model" / "harmonisation.md").read_text().splitlines()]
    none, combat = (row[3].split()[0] for row in rows if row[0].startswith("| one site left out"))
    assert f"from {none} to {combat} years" in UNKNOWN_SITES


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_bundle_that_corrects_for_sites_does_so_in_the_worker_and_says_where_it_does_not(released, tmp_path):
    evaluation = CONFIG.evaluation.model_copy(update={"harmonisation": "combat"})
    experiment = replace(released.experiment, config=CONFIG.model_copy(update={"evaluation": evaluation}))
    scored = experiment.evaluate(released.run)
    site, before = scored.report.latent.site, released.scored.report.latent.site
    assert site is not None
    assert before is not None
    assert site[0] < before[0], "the site is harder to read out of the latent"
    bundle = experiment.release(released.run, scored, tmp_path / "bundle")
    tensors, sites = experiment.prepare().tensors[:2], experiment.cohort().sites[:2]
    people = [SubjectAttributes(50.0, scan_site=site) for site in (str(sites[0]), "elsewhere")]
    known, unknown = bundle.predictor().predict(tensors, people, [KnownScanner(3.0, "Nobody")] * 2)
    assert isinstance(known, Prediction)
    assert isinstance(unknown, Prediction)
    plain = load_final_fit(released.run).fitted(CONFIG).encode(tensors)
    assert np.abs(known.latent - plain[0]).max() > 1e-3
    np.testing.assert_allclose(unknown.latent, plain[1], atol=1e-4 * np.abs(plain[1]).max())
    assert any(reason.code == "site_not_corrected" for reason in unknown.reasons)
    assert not any(reason.code == "site_not_corrected" for reason in known.reasons)
    assert (known.site_correction, unknown.site_correction) == ("applied", "unknown_site")
    card, metrics = (bundle.path / "docs" / "README.md").read_text(), bundle.manifest.metrics
    assert metrics["uncorrected_site_accuracy"] == pytest.approx(before[0], abs=1e-4)
    assert metrics["uncorrected_brain_age_mae"] == released.bundle.manifest.metrics["brain_age_mae"]
    for name in np.unique(experiment.cohort().sites):
        assert f"{name} ({(experiment.cohort().sites == name).sum()} scans)" in card
    assert f"| {before[0]:.2f} | {site[0]:.2f} |" in card
    assert f"| {metrics['uncorrected_brain_age_mae']:.2f} | {metrics['brain_age_mae']:.2f} |" in card
    assert UNKNOWN_SITES in card


def test_a_private_bundle_is_not_calibrated_by_heads_that_it_cannot_have(released, tmp_path):
    with pytest.raises(ReleaseError, match="linear"):
        released.experiment.release(released.run, released.scored, tmp_path / "bundle", private=True)


def test_the_released_decoder_tells_noise_in_a_heads_place_from_the_held_out_heads(released):
    mask = released.experiment.brain_grid().mask
    noise = np.where(mask, np.random.default_rng(0).uniform(0, 1.25, mask.shape), 0).astype(np.float32)
    (answer,) = released.bundle.predictor().predict(
        noise[None], [SubjectAttributes(50.0)], [KnownScanner(3.0, "Nobody")]
    )
    if isinstance(answer, Prediction):
        assert any(reason.code == "poorly_reconstructed" for reason in answer.reasons)
    else:
        assert answer.code == "out_of_distribution"


def test_a_run_that_held_out_only_some_cannot_be_calibrated_and_says_what_to_do(released, tmp_path):
    ages = released.scored.found.age.copy()
    ages[:, 0] = np.nan
    partly = replace(released.scored, found=replace(released.scored.found, age=ages))
    with pytest.raises(ReleaseError, match="scope = 'all-folds'"):
        released.experiment.release(released.run, partly, tmp_path / "bundle")


def test_the_bundles_own_preprocessing_is_what_training_used(released):
    assert isinstance(released.bundle.preprocessor(), Preprocessor)
    assert released.bundle.spec == PreprocessingAssets(released.experiment.assets, SessionOptions()).file.spec


def test_a_bundle_held_against_itself_shifts_nobody_and_its_page_says_so(released, tmp_path):
    bundle, ages = released.bundle, released.scored.labels.ages_years
    scanner = KnownScanner(3.0, "Nobody")
    judged = judge(bundle, released.experiment.prepare().tensors, ages, scanner)
    assert {one.decision for one in judged} <= {"accepted", "review", "refused"}
    names = [f"head {number}" for number in range(SUBJECTS)]
    found = compare_judgements(("same", "same"), names, ages, judged, judged, seed=0)
    assert found.brain_age.shift.value == found.brain_age.sd == 0.0
    assert found.crossings == ()
    page = write_promotion(found, judged, judged, tmp_path)
    assert "Nobody." in page.read_text()


def test_a_candidate_replaces_the_bundle_in_place_and_an_altered_one_leaves_it_alone(released, tmp_path):
    candidate, place = copied(released, tmp_path), tmp_path / "bundles" / "phantom"
    put_in_place(candidate, place)
    assert Bundle.open(place).digest == released.bundle.digest
    (place / "mark").write_text("the one in place")
    (candidate / "decoder.onnx").write_bytes(b"altered")
    with pytest.raises(BundleError, match=r"decoder\.onnx"):
        put_in_place(candidate, place)
    assert (place / "mark").is_file()
    assert [path.name for path in place.parent.iterdir()] == ["phantom"]


def test_a_promotion_that_was_killed_between_its_moves_is_made_up_for_by_the_next(released, tmp_path):
    place, candidate = tmp_path / "bundles" / "phantom", tmp_path / "candidate"
    shutil.copytree(released.bundle.path, candidate)
    (candidate / "decoder.onnx").write_bytes(b"altered")
    aside = place.with_name(".phantom.leaving")
    aside.mkdir(parents=True)
    (aside / "mark").write_text("the one that was in place")
    with pytest.raises(BundleError, match=r"decoder\.onnx"):
        put_in_place(candidate, place)
    assert (place / "mark").is_file()
    assert [path.name for path in place.parent.iterdir()] == ["phantom"]


@dataclass(frozen=True)
class TurnedRound(PhantomExperiment):
    """The same people in a manifest whose rows are in another order."""

    def cohort(self) -> Cohort:
        return Cohort(super().cohort().subjects[::-1])

    def prepare(self) -> PreparedCohort:
        return PreparedCohort(super().prepare().tensors[::-1].copy(), {})


def other_recipe(released: Released, **sections: object) -> PhantomExperiment:
    return replace(released.experiment, config=CONFIG.model_copy(update=sections))


def test_fits_to_rows_in_another_order_are_taken_for_nobodys(released, tmp_path):
    before = released.experiment
    turned = TurnedRound(before.config, before.data, before.cache, before.jobs)
    for asked in (turned.train, turned.held_out):
        with pytest.raises(TrainingError, match="order of rows"):
            asked(released.run)
    with pytest.raises(TrainingError, match="everyone is of another recipe"):
        turned.release(released.run, released.scored, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("section", "changed"),
    [
        ("optimiser", {"learning_rate": 1e-3}),
        ("objective", {"l": 3.0}),
        ("augmentation", {"rotation_deg": 2.0}),
        ("evaluation", {"head_copies": 1}),
        ("evaluation", {"outer_folds": 4}),
    ],
)
def test_fits_of_another_recipe_are_not_taken_for_this_ones(released, section, changed):
    other = other_recipe(released, **{section: getattr(CONFIG, section).model_copy(update=changed)})
    with pytest.raises(TrainingError, match="checkpoint_mismatch"):
        other.held_out(released.run)


def test_what_the_fits_do_not_depend_on_may_change_afterwards(released):
    evaluation = CONFIG.evaluation.model_copy(update={"inner_folds": 2, "interval_level": 0.7})
    other_recipe(released, evaluation=evaluation).held_out(released.run)


def test_the_card_names_errors_by_age_band_and_sex_and_what_cannot_be_told_apart(released):
    card = (released.bundle.path / "docs" / "README.md").read_text()
    for said in ("| women |", "| men |", "| 20 to 40 years |", "cannot be told apart"):
        assert said in card


AGE_NETWORK = AgeNetworkConfig(
    members=2, copies=3, channels=(4, 8, 8), steps=10, batch=8, learning_rate=1e-2, dropout=0.0
)


@pytest.fixture(scope="module")
def supervised(released: Released, tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomExperiment, Path]:
    """The same fits with age networks beside them."""
    run = tmp_path_factory.mktemp("supervised") / "run"
    shutil.copytree(released.run, run)
    evaluation = CONFIG.evaluation.model_copy(update={"head_kernels": ("linear",)})
    experiment = replace(
        released.experiment, config=CONFIG.model_copy(update={"age_network": AGE_NETWORK, "evaluation": evaluation})
    )
    with pytest.raises(RunIncomplete, match="fit-ages"):
        experiment.held_out(run)
    fit_missing(experiment.plan_ages(run), run / "ages", "cpu", jobs=1, on_done=lambda _done, _count: None)
    return experiment, run


def members_of(supervised: tuple[PhantomExperiment, Path], fit: str, rows: Indices) -> AgeMembers:
    experiment, run = supervised
    return read_members(run / "ages", fit, AGE_NETWORK, experiment.cohort().ages_years, rows)


def test_an_age_network_is_the_last_number_of_the_latent_and_the_decoder_does_not_see_it(supervised, tmp_path):
    experiment, run = supervised
    tensors, ages = experiment.prepare().tensors[:3], experiment.cohort().ages_years
    members = members_of(supervised, "everyone", np.arange(SUBJECTS))
    plain = load_final_fit(run).fitted(CONFIG)
    export_autoencoder(plain.with_age(members.code()), tmp_path)
    encoder, decoder = (
        onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    )
    (found,) = encoder.run(None, {"tensor": tensors[:, None]})
    assert found.shape[1] == experiment.config.latent_dimension == CONFIG.network.latent + 1
    np.testing.assert_allclose(found[:, :-1], plain.encode(tensors), atol=1e-4 * np.abs(found).max())
    years = np.mean([ask(network, torch.from_numpy(tensors)[:, None]) for network in members.networks], axis=0)
    np.testing.assert_allclose(found[:, -1] * ages.std() + ages.mean(), years, atol=0.01)
    moved = found + np.eye(found.shape[1], dtype=np.float32)[-1]
    images = [decoder.run(None, {"latent": latents})[0] for latents in (found, moved)]
    np.testing.assert_array_equal(*images)


@pytest.mark.timeout(600)
def test_a_bundle_knows_the_scans_again_that_it_learned_from_also_with_age_networks(released, supervised, tmp_path):
    experiment, run = supervised
    heads = experiment.prepare().tensors
    others = heads[:4, ::-1, ::-1] + 0.1
    for bundle in (released.bundle, experiment.release(run, experiment.evaluate(run), tmp_path / "bundle")):
        predictor = bundle.predictor()
        assert all(predictor.has_learned_from(seen) for seen in predictor.look(heads))
        assert not any(predictor.has_learned_from(seen) for seen in predictor.look(others))
    # The last bundle's age is a share of the networks', which is one number of its line.
    share = bundle.manifest.metrics["age_network_share"]
    assert "age_network_share" not in released.bundle.manifest.metrics
    latent = bundle.latent(heads[0])
    moved = latent + np.eye(len(latent), dtype=np.float32)[-1]
    of_code = np.subtract(bundle.estimates(moved)[0], bundle.estimates(latent)[0])
    ages = experiment.cohort().ages_years
    np.testing.assert_allclose(of_code, share * ages.std(), rtol=0.01, atol=0.01)


def test_what_a_head_learns_from_is_said_by_a_network_that_had_not_seen_it(released, supervised):
    tensors, plan = supervised[0].prepare().tensors, AgePlan.load(supervised[1] / "ages" / "plan.npz")
    assert [fit.name for fit in plan.fits] == ["everyone", *(f"seed-5-fold-{number}" for number in (1, 2, 3))]
    (one, *_) = released.scored.found.chosen[0]
    members = members_of(supervised, "seed-5-fold-1", one.training)
    codes = ask_members(members, one, tensors, CONFIG.augmentation, CONFIG.evaluation.head_copies)
    beside = codes.beside(one, AGE_NETWORK)
    (fit,) = (fit for fit in plan.fits if fit.name == "seed-5-fold-1")
    for number, network in enumerate(members.networks):
        unseen = fit.unseen_by(number)
        assert not set(unseen) & set(fit.learned_by(number))
        said = ask(network, torch.from_numpy(tensors[unseen])[:, None])
        np.testing.assert_allclose(beside.latents[unseen, -1] * members.sd_years + members.mean_years, said, atol=0.05)
    np.testing.assert_array_equal(beside.latents[:, :-1], one.latents)
    np.testing.assert_array_equal(beside.code_spreads, [*one.code_spreads, AGE_NETWORK.code_weight])
    assert codes.test_copies.shape == (len(one.test_copies), len(one.test), 1)


def test_age_networks_that_are_there_are_not_fitted_again(supervised):
    experiment, run = supervised
    files = [member_file(run / "ages", "everyone", member) for member in range(AGE_NETWORK.members)]
    before = [file.stat().st_mtime_ns for file in files]
    fit_missing(
        experiment.plan_ages(run), run / "ages", "cpu", 1, lambda _done, _count: pytest.fail("nothing was missing")
    )
    assert [file.stat().st_mtime_ns for file in files] == before


def test_age_networks_of_other_heads_are_not_taken(supervised):
    with pytest.raises(ValueError, match="other rows of the manifest: fit them again"):
        members_of(supervised, "everyone", np.arange(SUBJECTS - 1))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_bundle_with_an_age_network_says_that_it_is_semi_supervised(supervised, tmp_path):
    experiment, run = supervised
    scored = experiment.evaluate(run)
    assert scored.report.age[0].kind == "semi-supervised"
    bundle = experiment.release(run, scored, tmp_path / "bundle")
    assert bundle.manifest.latent_dimension == CONFIG.network.latent + 1
    assert "which had not seen that subject" in (tmp_path / "bundle" / "docs" / "README.md").read_text()
    (answer,) = bundle.predictor().predict(
        experiment.prepare().tensors[:1], [SubjectAttributes(50.0)], [KnownScanner(3.0, "Nobody")]
    )
    assert isinstance(answer, Prediction)
