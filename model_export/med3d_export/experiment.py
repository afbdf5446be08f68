"""One experiment from manifest to bundle: prepare, fit, evaluate, compare, release."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from tqdm import tqdm

from med3d_export.age_codes import AGES, EVERYONE, PLAN, AgeCodes, age_plan, ask_members, fit_name
from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.age_network.members import (
    AgeMembers,
    has_members,
    member_file,
    read_members,
    require_same_members,
)
from med3d_export.age_network.plan import AgePlan
from med3d_export.config import GridConfig, TrainingConfig
from med3d_export.cross_validation import (
    FitData,
    FitJob,
    everyone_job,
    fold_jobs,
    read_evidence,
    repeat_seeds,
    require_same,
    run_jobs,
)
from med3d_export.evaluation.baseline_rows import BaselineEstimates, baseline_estimates
from med3d_export.evaluation.held_out import HeldOut, held_out
from med3d_export.evaluation.protocol import EvaluationReport, Method, evaluate_method
from med3d_export.evaluation.scores import Kind
from med3d_export.fold_evidence import BrainGrid, FoldEvidence
from med3d_export.monitors import PosteriorMonitors, observe_posterior
from med3d_export.releasing.assets import grid_spec, write_assets
from med3d_export.releasing.release import ReleaseInput, release_bundle
from med3d_export.report.evaluation_report import ReportInput, write_report
from med3d_export.result_files import write_json, write_predictions
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.folds import Fold, Indices, Split, leave_one_site_out, stratified_folds, thinned
from med3d_export.subjects.labels import MEASURED_LABELS, Labels
from med3d_export.subjects.manifest_files import read_cohort
from med3d_export.subjects.regional_volumes import read_volumes
from med3d_export.subjects.sdmt_simulation import simulate_sdmt
from med3d_export.subjects.split_file import read_split, write_split
from med3d_export.subjects.supervision import read_supervision
from med3d_export.subjects.tensor_cache import BRAIN_VOLUME, PreparedCohort, TensorCache
from med3d_export.training import EpochReport, FittedAutoencoder, TrainingError, rebuild
from med3d_export.training_run import WEIGHTS, RunIncomplete, add_minutes, load_final_fit, read_weights
from med3d_pipeline.bundle.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.inference.manifest import SIMULATED_LABELS
from med3d_pipeline.preprocessing.alignment.template import brain_on_grid
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

REPORT = "report"
FEWER_HEADS = "fewer-heads"


@dataclass(frozen=True, eq=False)
class Scored:
    """A run as it was evaluated: the report and what it was made from."""

    report: EvaluationReport
    found: HeldOut
    baselines: BaselineEstimates
    labels: Labels


@dataclass(frozen=True)
class Experiment:
    """A recipe, a cohort (a manifest, or a folder with one, or a BIDS dataset), and where tensors and runs are kept."""

    config: TrainingConfig
    data: Path
    cache: Path
    jobs: int

    @property
    def assets(self) -> Path:
        """Brain networks, template and preprocessing.json; each grid has its own."""
        grid = self.config.grid
        if grid == GridConfig():
            return self.cache / "assets"
        return self.cache / f"assets-{grid_spec(grid).digest()[:12]}"

    @property
    def folder(self) -> Path:
        """What files named in the recipe are relative to."""
        return self.data if self.data.is_dir() else self.data.parent

    def cohort(self) -> Cohort:
        """Return the checked manifest."""
        return read_cohort(self.data)

    def prepare(self) -> PreparedCohort:
        """Return every subject's tensor, from the cache where it is there already; asked once per experiment."""
        return self._prepared

    @cached_property
    def _prepared(self) -> PreparedCohort:
        cohort = self.cohort()
        write_assets(self.assets, self.config.grid)
        with tqdm(total=len(cohort), desc="preprocessing", unit="head") as bar:
            cache = TensorCache(self.cache / "tensors", self.assets, self.jobs)
            prepared = cache.prepare(cohort, lambda _: bar.update())
            bar.update(bar.total - bar.n)
        return prepared

    def train(self, run_folder: Path) -> None:
        """Fit every fold of every repeat, then everyone; what is in ``run_folder`` already is not fitted again."""
        data, cohort = self.fit_data([self.config]), self.cohort()
        jobs = [
            *fold_jobs(run_folder, (self.config,), self.splits(cohort, run_folder)),
            everyone_job(run_folder, self.config, len(cohort)),
        ]
        self.run(data, jobs, run_folder)

    def evaluate(self, run_folder: Path) -> Scored:
        """Score the fits in ``run_folder``. Raises RunIncomplete where one is missing."""
        torch.set_num_threads(self.config.threads)
        prepared, cohort = self.prepare(), self.cohort()
        labels, splits = self.labels(cohort, prepared), self.splits(cohort, run_folder)
        settings, found = self.config.evaluation, self.held_out(run_folder)
        baselines = baseline_estimates(prepared.tensors, labels, splits, settings.inner_folds)
        method = Method(self.config.name, kind_of(self.config))
        plain = None if settings.harmonisation == "none" else self._uncorrected().held_out(run_folder)
        report = evaluate_method(method, found, baselines, labels, settings, self.config.seed, plain)
        return Scored(report, found, baselines, labels)

    def held_out(self, run_folder: Path) -> HeldOut:
        """Return what held-out subjects got from the fits in ``run_folder``.

        Raises RunIncomplete where one is missing, TrainingError where one is of another recipe or cohort.
        """
        prepared, cohort = self.prepare(), self.cohort()
        jobs = fold_jobs(run_folder, (self.config,), self.splits(cohort, run_folder))
        evidence = read_evidence(self.fit_data([self.config]), jobs)
        if self.config.age_network is not None:
            evidence = [self._with_ages(one, run_folder) for one in evidence]
        return held_out(evidence, self.labels(cohort, prepared), self.config.evaluation)

    def held_out_by_training_heads(self, run_folder: Path, numbers: Iterable[int]) -> dict[int, HeldOut]:
        """Return what the same held-out subjects get where each fold trains on fewer heads, and in the end on all.

        Fits that are in ``run_folder`` already are not made again. The latent alone: of age networks nothing is asked.
        """
        alone = replace(self, config=self.config.model_copy(update={"age_network": None}))
        prepared, cohort = alone.prepare(), alone.cohort()
        labels, splits = alone.labels(cohort, prepared), alone.splits(cohort, run_folder)
        data, found = alone.fit_data([alone.config]), {}
        for heads in sorted(numbers):
            folder = run_folder / FEWER_HEADS / str(heads)
            fewer = {
                seed: tuple(thinned(fold, cohort, heads, seed) for fold in folds) for seed, folds in splits.items()
            }
            jobs = [replace(job, keeps_weights=False) for job in fold_jobs(folder, (alone.config,), fewer)]
            alone.run(data, jobs, folder)
            found[heads] = held_out(read_evidence(data, jobs), labels, alone.config.evaluation)
        every = next(iter(splits.values()))
        found[min(len(fold.training) for fold in every)] = alone.held_out(run_folder)
        return found

    def plan_ages(self, run_folder: Path) -> Path:
        """Write what age networks are to be fitted, of every fold and of everyone: all that another machine needs.

        Returns the file. Raises RunIncomplete without [age_network].
        """
        if self.config.age_network is None:
            raise RunIncomplete("the recipe has no [age_network]: there is nothing to fit")
        path = run_folder / AGES / PLAN
        self._age_plan(run_folder, self.config.age_network).save(path)
        return path

    def _with_ages(self, one: FoldEvidence, run_folder: Path) -> FoldEvidence:
        """Return the same evidence with the age code beside the latents; codes that were computed once are read."""
        fit, settings = fit_name(one.seed, one.fold), self.config.evaluation
        members = self._age_members(run_folder, fit, one.training)
        path, made_from = run_folder / AGES / f"{fit}-codes.npz", self._codes_digest(run_folder, fit, one)
        codes = AgeCodes.load(path, made_from)
        if codes is None:
            codes = ask_members(members, one, self.prepare().tensors, self.config.augmentation, settings.head_copies)
            codes.save(path, made_from)
        return codes.beside(one, self.config.age_network)

    def _codes_digest(self, run_folder: Path, fit: str, one: FoldEvidence) -> str:
        """Tell what decides the age codes of one fold: its members, the heads, and how these are varied."""
        config, said = self.config.age_network, hashlib.sha256(self._tensors_digest)
        assert config is not None
        for member in range(config.members):
            said.update(member_file(run_folder / AGES, fit, member).read_bytes())
        varied = [one.seed, one.fold, self.config.evaluation.head_copies, self.config.augmentation.model_dump()]
        said.update(json.dumps([*varied, one.training.tolist(), one.test.tolist()]).encode())
        return said.hexdigest()

    @cached_property
    def _tensors_digest(self) -> bytes:
        return hashlib.sha256(np.ascontiguousarray(self.prepare().tensors).data).digest()

    def _age_members(self, run_folder: Path, fit: str, rows: Indices) -> AgeMembers:
        """Return the age networks of one fit.

        Raises RunIncomplete where they were not fitted, AgeNetworksDiffer where to other heads or by another recipe.
        """
        config, folder = self.config.age_network, run_folder / AGES
        assert config is not None
        if not has_members(folder, fit, config):
            raise RunIncomplete(f"the age networks of {fit} are missing: run med3d-export fit-ages")
        plan = self._age_plan(run_folder, config)
        require_same_members(plan, next(one for one in plan.fits if one.name == fit), folder)
        return read_members(folder, fit, config, self.cohort().ages_years, rows)

    def _age_plan(self, run_folder: Path, config: AgeNetworkConfig) -> AgePlan:
        cohort = self.cohort()
        return age_plan(self.config, config, self.prepare().tensors, cohort, self.splits(cohort, run_folder))

    def _uncorrected(self) -> Self:
        """Return the same experiment without a correction for sites; its fits are the same."""
        evaluation = self.config.evaluation.model_copy(update={"harmonisation": "none"})
        return replace(self, config=self.config.model_copy(update={"evaluation": evaluation}))

    def report(self, run_folder: Path) -> Scored:
        """Evaluate, and write evaluation.json, predictions.csv and the report below ``run_folder``."""
        scored = self.evaluate(run_folder)
        fitted = self.fold_fit(run_folder, scored.found.chosen[0][0], self.config)
        monitors = self.observe_folds(run_folder, scored.found, (self.config,))
        split = read_split(self._split_file(run_folder, self.config.seed), self.cohort())
        source = ReportInput(
            scored.report, scored.found, scored.labels, self.config.evaluation, fitted, monitors,
            self.brain_grid().data_range, split.description,
        )  # fmt: skip
        write_report(source, run_folder / REPORT)
        write_json(scored.report, run_folder / "evaluation.json")
        write_predictions(scored.found, scored.baselines, scored.labels, run_folder / "predictions.csv")
        return scored

    def observe_folds(
        self, run_folder: Path, found: HeldOut, candidates: tuple[TrainingConfig, ...]
    ) -> tuple[PosteriorMonitors, ...]:
        """Return how healthy the latent of each fold of the first repeat is on the fold's test subjects."""
        tensors = self.prepare().tensors
        return tuple(
            observe_posterior(
                self.fold_fit(run_folder, one, candidates[one.candidate]), tensors[one.test], one.seed + one.fold
            )
            for one in found.chosen[0]
        )

    def fold_fit(self, run_folder: Path, one: FoldEvidence, config: TrainingConfig) -> FittedAutoencoder:
        """Return what was fitted to one fold of the first repeat, with the age networks that ``config`` asks for."""
        fitted = rebuild(read_weights(run_folder / WEIGHTS / one.name), config)
        if config.age_network is None:
            return fitted
        return fitted.with_age(self._age_members(run_folder, fit_name(one.seed, one.fold), one.training).code())

    def with_linear_heads(self) -> Self:
        """Return the same experiment with heads that need no support vectors; its fits are the same."""
        evaluation = self.config.evaluation.model_copy(update={"head_kernels": ("linear",)})
        return replace(self, config=self.config.model_copy(update={"evaluation": evaluation}))

    def release(self, run_folder: Path, scored: Scored, bundle: Path, *, private: bool = False) -> Bundle:
        """Write the bundle of the run in ``run_folder``, which ``evaluate`` or ``report`` has scored.

        private: without what could lead back to a training subject; the experiment must have linear heads.
        """
        cohort = self.cohort()
        require_same(self.fit_data([self.config]), [everyone_job(run_folder, self.config, len(cohort))])
        source = ReleaseInput(
            self.config, cohort, self.prepare().tensors, scored.labels, load_final_fit(run_folder),
            scored.report, scored.found, self.assets, private, self._everyones_ages(run_folder),
        )  # fmt: skip
        return release_bundle(source, bundle)

    def _everyones_ages(self, run_folder: Path) -> AgeMembers | None:
        if self.config.age_network is None:
            return None
        return self._age_members(run_folder, EVERYONE, np.arange(len(self.cohort())))

    def fit_data(self, configs: Iterable[TrainingConfig]) -> FitData:
        """Return what every fit of one of ``configs`` shares."""
        prepared, cohort = self.prepare(), self.cohort()
        asked_for = {config.supervision for config in configs}
        supervision = {each: read_supervision(cohort, each, self.folder) for each in asked_for}
        return FitData(prepared.tensors, supervision, self.brain_grid())

    def brain_grid(self) -> BrainGrid:
        """Return the template's brain on the tensors' grid."""
        assets = PreprocessingAssets(self.assets, SessionOptions())
        spec = assets.file.spec
        return BrainGrid(brain_on_grid(assets.template, spec), spec.intensity.highest)

    def splits(self, cohort: Cohort, run_folder: Path) -> dict[int, tuple[Fold, ...]]:
        """Return the folds of every repeat by its seed, stored in ``run_folder`` at first and then read there."""
        splits = {}
        for seed in repeat_seeds(self.config):
            path = self._split_file(run_folder, seed)
            if not path.is_file():
                write_split(self._split(cohort, seed), cohort, path)
            splits[seed] = self._as_asked(read_split(path, cohort), path).folds
        return splits

    def _split_file(self, run_folder: Path, seed: int) -> Path:
        return run_folder / f"split-{seed}.json"

    def _as_asked(self, split: Split, path: Path) -> Split:
        """Return it. Raises TrainingError where the recipe now asks for another one."""
        settings = self.config.evaluation
        folds = len(split.folds) if settings.split == "leave-one-site-out" else settings.outer_folds
        if (split.kind, len(split.folds)) != (settings.split, folds):
            raise TrainingError(
                "checkpoint_mismatch",
                f"{path.name} has {len(split.folds)} folds ({split.kind}), and the recipe asks for others; choose "
                "another folder, or empty it",
            )
        return split

    def _split(self, cohort: Cohort, seed: int) -> Split:
        settings = self.config.evaluation
        if settings.split == "leave-one-site-out":
            return leave_one_site_out(cohort)
        return stratified_folds(cohort, settings.outer_folds, seed)

    def labels(self, cohort: Cohort, prepared: PreparedCohort) -> Labels:
        """Read them from the manifest; SDMT is simulated, and says so, where the manifest has none at all."""
        volumes_csv, sdmt, evidence = self.config.evaluation.volumes_csv, cohort.sdmt, MEASURED_LABELS
        if not np.isfinite(sdmt).any():
            sdmt = simulate_sdmt(cohort.ages_years, prepared.measures[BRAIN_VOLUME], self.config.seed)
            evidence = SIMULATED_LABELS
        return Labels(
            subjects=cohort.participant_ids,
            ages_years=cohort.ages_years,
            sexes=cohort.sexes,
            sites=cohort.sites,
            sdmt=sdmt,
            sdmt_evidence=evidence,
            volumes=None if volumes_csv is None else read_volumes(cohort, self.folder / volumes_csv),
        )

    def run(self, data: FitData, jobs: list[FitJob], run_folder: Path) -> None:
        """Make the fits that are missing, with a progress bar; the minutes are added up in ``run_folder``."""
        missing = sum(not job.is_done for job in jobs)
        started = time.monotonic()
        with tqdm(total=missing * self.config.optimiser.epochs, unit="epoch", desc="fitting") as bar:
            run_jobs(data, jobs, self.jobs, lambda name, report: _show(bar, name, report))
        if missing:
            add_minutes(run_folder, (time.monotonic() - started) / 60)


def kind_of(config: TrainingConfig) -> Kind:
    """Tell whether a label of the training subjects reaches the encoder."""
    if config.age_network is not None:
        return "semi-supervised"
    weights = config.supervision.model_dump()
    supervised = any(value for name, value in weights.items() if name.endswith("_weight") and "site" not in name)
    return "semi-supervised" if supervised else "unsupervised"


def _show(bar: "tqdm[None]", what: str, report: EpochReport) -> None:
    bar.set_description(what)
    bar.set_postfix(loss=f"{report.total:.3f}", age=f"{report.supervised:.2f}", refresh=False)
    bar.update()
