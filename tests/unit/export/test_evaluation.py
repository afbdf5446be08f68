"""Fits, evaluation and comparison on tiny heads whose brightness tells the age: the whole protocol in seconds."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from med3d_export.comparison_run import ComparisonError, compare, variants_of
from med3d_export.config import TrainingConfig
from med3d_export.evaluation.learning_curve import learning_curve
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.experiment import Experiment, Scored
from med3d_export.fold_evidence import BrainGrid
from med3d_export.report.learning_report import write_learning_curve
from med3d_export.subjects.cohort import Cohort, CohortSubject
from med3d_export.subjects.tensor_cache import BRAIN_VOLUME, PreparedCohort
from med3d_export.training_run import RunIncomplete

SUBJECTS, GRID = 40, 16
CONFIG = TrainingConfig.model_validate(
    {
        "name": "tiny", "version": "0", "seed": 7, "threads": 1,
        "network": {"encoder_channels": [2, 2, 4, 4], "decoder_channels": [2, 2, 4, 4], "linear_rank": 8, "latent": 16},
        "objective": {"a": 0.5, "l": 2.0, "decoder_sd": 0.1, "bank": 8},
        "optimiser": {"epochs": 2, "batch": 8, "learning_rate": 1e-3, "weight_decay": 0.01, "ema_decay": 0.5},
        "augmentation": {"rotation_deg": 0, "scale": 0, "shift_voxels": 0},
        "evaluation": {"outer_folds": 2, "inner_folds": 3, "repeats": 2, "interval_level": 0.8, "head_copies": 1},
        "comparison": {
            "variants": [
                {"name": "infovae", "candidates": [{"a": 0.5, "l": 2.0, "decoder_sd": 0.1, "bank": 8}]},
                {"name": "vae", "scope": "first-fold", "candidates": [{"kind": "vae", "decoder_sd": 0.1}]},
                {
                    "name": "vae-age", "scope": "first-fold", "supervision": {"age_weight": 0.3},
                    "candidates": [{"kind": "vae", "decoder_sd": 0.1}],
                },
            ]
        },
        "population": {
            "name": "tiny", "description": "Made up.", "source": "none", "licence": "none",
            "field_strengths_t": [3.0], "vendors": ["Nobody"],
        },
    }
)  # fmt: skip


@dataclass(frozen=True)
class TinyExperiment(Experiment):
    """An experiment whose heads are made here: a ball on a dark ground that grows and darkens with age."""

    def cohort(self) -> Cohort:
        ages = np.random.default_rng(1).permutation(np.linspace(20, 80, SUBJECTS))
        return Cohort(
            tuple(
                CohortSubject(row, f"tiny-{row}", float(age), "FM"[row % 2], "AB"[row % 3 == 0], Path("none"))
                for row, age in enumerate(ages, start=2)
            )
        )

    def prepare(self) -> PreparedCohort:
        draws = np.random.default_rng(2)
        axis = np.arange(GRID) - (GRID - 1) / 2
        radius = np.sqrt(sum(part**2 for part in np.meshgrid(axis, axis, axis, indexing="ij")))
        ages = self.cohort().ages_years
        tensors = [(radius < 4 + age / 30) * (1.2 - age / 100) + draws.normal(0, 0.05, radius.shape) for age in ages]
        volumes = 1400 - 3 * ages + draws.normal(0, 60, SUBJECTS)
        return PreparedCohort(np.array(tensors, dtype=np.float32), {BRAIN_VOLUME: volumes})

    def brain_grid(self) -> BrainGrid:
        return BrainGrid(self.prepare().tensors.mean(axis=0) > 0.3, 1.25)


@dataclass(frozen=True)
class Done:
    experiment: Experiment
    run: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Done:
    work = tmp_path_factory.mktemp("evaluation")
    experiment = TinyExperiment(CONFIG, work, work, jobs=1)
    experiment.train(work / "run")
    return Done(experiment, work / "run")


@pytest.fixture(scope="module")
def scored(trained: Done) -> Scored:
    return trained.experiment.report(trained.run)


def test_a_run_is_scored_beside_baselines_and_leaves_a_page_that_needs_nothing_else(trained, scored):
    rows = {row.name: row.raw for row in scored.report.age}
    assert rows["tiny"].mae.value < rows["mean only"].mae.value
    assert rows["tiny"].r.value > 0.5
    assert rows["linear kernel ridge on voxels"].r.value > 0.9
    assert scored.report.method.kind == "unsupervised"
    assert len(rows["tiny"].mae_by_repeat) == 2
    page = (trained.run / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 9
    assert "<script" not in page
    assert page.count("src=") == page.count('src="data:image/png;base64,')
    assert "http://" not in page
    assert "https://" not in page
    stored = json.loads((trained.run / "evaluation.json").read_text())
    assert stored["detectable_years"] == pytest.approx(scored.report.detectable_years)
    lines = (trained.run / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * SUBJECTS


def test_no_subject_is_tested_by_a_fit_that_trained_on_it_and_all_are_tested_in_every_repeat(scored):
    found = scored.found
    assert found.is_complete
    for of_repeat in found.chosen:
        assert not any(set(one.training) & set(one.test) for one in of_repeat)
    first, second = (of_repeat[0].test for of_repeat in found.chosen)
    assert set(first) != set(second)


def test_a_run_that_was_stopped_makes_only_the_fits_that_are_missing(trained):
    fits = sorted((trained.run / "fits").iterdir())
    before = {fit.name: fit.stat().st_mtime_ns for fit in fits}
    stored = fits[0].read_bytes()
    fits[0].unlink()
    with pytest.raises(RunIncomplete, match="1 fits are missing"):
        trained.experiment.evaluate(trained.run)
    trained.experiment.train(trained.run)
    after = {fit.name: fit.stat().st_mtime_ns for fit in (trained.run / "fits").iterdir()}
    assert {name for name, when in after.items() if before[name] != when} == {fits[0].name}
    with np.load(fits[0]) as again:
        made = again["latents"]
    fits[0].write_bytes(stored)
    with np.load(fits[0]) as first:
        np.testing.assert_array_equal(made, first["latents"])


def test_the_learning_curve_asks_the_same_heads_of_fits_to_fewer_and_keeps_what_is_fitted(trained, tmp_path):
    found = trained.experiment.held_out_by_training_heads(trained.run, [12])
    assert sorted(found) == [12, SUBJECTS // 2]
    for few, every in zip(found[12].folds[0], found[SUBJECTS // 2].folds[0], strict=True):
        assert len(few.training) == 12
        assert set(few.training) < set(every.training)
        assert few.test.tolist() == every.test.tolist()
    experiment = trained.experiment
    curve = learning_curve(found, experiment.labels(experiment.cohort(), experiment.prepare()), seed=1)
    assert [point.training_heads for point in curve.points] == [12, 20]
    assert set(curve.points[0].groups) == {"everyone", "women", "men", "A", "B"}
    page = write_learning_curve(curve, "tiny 0", tmp_path).read_text()
    assert page.count("data:image/png;base64,") == 1
    assert str(curve.points[0].groups["women"].mae) in page
    before = {path: path.stat().st_mtime_ns for path in (trained.run / "fewer-heads").rglob("*.npz")}
    experiment.held_out_by_training_heads(trained.run, [12])
    assert before == {path: path.stat().st_mtime_ns for path in (trained.run / "fewer-heads").rglob("*.npz")}


def test_a_comparison_states_beforehand_what_it_can_detect_and_pairs_the_shared_subjects(trained, tmp_path):
    plans = []

    def note(plan):
        plans.append(plan)
        assert (tmp_path / "plan.json").is_file()
        assert not (tmp_path / "vae").exists()

    once = CONFIG.model_copy(update={"evaluation": CONFIG.evaluation.model_copy(update={"repeats": 1})})
    report = compare(replace(trained.experiment, config=once), tmp_path, note)
    assert plans == [report.plan]
    assert report.plan.detectable_years > 0
    pairing = report.pairings["vae"]
    vae = report.methods["vae"].age[0]
    assert vae.subjects < SUBJECTS
    assert pairing.error.subjects == vae.subjects
    assert pairing.error.difference.lower <= pairing.error.difference.value <= pairing.error.difference.upper
    assert report.chosen == {"infovae": (2,), "vae": (1,), "vae-age": (1,)}
    kinds = {name: each.method.kind for name, each in report.methods.items()}
    assert kinds == {"infovae": "unsupervised", "vae": "unsupervised", "vae-age": "semi-supervised"}
    assert "Fixed beforehand" in (tmp_path / "report" / "report.md").read_text()


def test_leaving_one_site_out_tests_each_site_by_fits_that_have_not_seen_it(trained, tmp_path):
    by_site = CONFIG.model_copy(update={"evaluation": EvaluationConfig(split="leave-one-site-out", repeats=1)})
    experiment = replace(trained.experiment, config=by_site)
    cohort = experiment.cohort()
    (folds,) = experiment.splits(cohort, tmp_path).values()
    assert [set(cohort.sites[fold.test]) for fold in folds] == [{"A"}, {"B"}]
    assert all(not set(cohort.sites[fold.test]) & set(cohort.sites[fold.training]) for fold in folds)


def test_unequal_search_budgets_are_refused_before_anything_is_fitted():
    variants = [
        {"name": "infovae", "candidates": [{"a": 0.5, "l": 2.0, "decoder_sd": 0.1}] * 2},
        {"name": "vae", "candidates": [{"kind": "vae", "decoder_sd": 0.1}]},
    ]
    with pytest.raises(ValueError, match=r"infovae 2, vae 1"):
        TrainingConfig.model_validate(CONFIG.model_dump() | {"comparison": {"variants": variants}})


def test_a_recipe_without_objectives_to_compare_says_what_to_add():
    alone = TrainingConfig.model_validate(CONFIG.model_dump() | {"comparison": {"variants": []}})
    with pytest.raises(ComparisonError, match=r"\[\[comparison.variants\]\]"):
        variants_of(alone)
