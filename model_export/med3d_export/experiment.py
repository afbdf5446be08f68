"""One experiment from manifest to bundle: prepare, cross-validate, fit, evaluate, release."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from med3d_export.assets import write_assets
from med3d_export.cohort import Cohort
from med3d_export.config import TrainingConfig
from med3d_export.cross_validation import Labelled, fit_all
from med3d_export.evaluation import evaluate
from med3d_export.folds import Fold, stratified_folds
from med3d_export.manifest_files import read_cohort
from med3d_export.release import ReleaseInput, release_bundle
from med3d_export.sdmt_simulation import simulate_sdmt
from med3d_export.supervision import read_supervision
from med3d_export.tensor_cache import BRAIN_VOLUME, PreparedCohort, TensorCache
from med3d_export.training import EpochReport
from med3d_export.training_run import TrainingRun, load_run
from med3d_pipeline.bundle import Bundle


@dataclass(frozen=True)
class Experiment:
    """A recipe, a cohort (a manifest, or a folder with one, or a BIDS dataset), and where tensors and runs are kept."""

    config: TrainingConfig
    data: Path
    cache: Path
    jobs: int

    @property
    def assets(self) -> Path:
        """Brain networks, template and preprocessing.json."""
        return self.cache / "assets"

    def cohort(self) -> Cohort:
        """The checked manifest."""
        return read_cohort(self.data)

    def prepare(self) -> PreparedCohort:
        """Every subject's tensor, from the cache where it is there already."""
        cohort = self.cohort()
        write_assets(self.assets)
        with tqdm(total=len(cohort), desc="preprocessing", unit="head") as bar:
            cache = TensorCache(self.cache / "tensors", self.assets, self.jobs)
            prepared = cache.prepare(cohort, lambda _: bar.update())
            bar.update(bar.total - bar.n)
        return prepared

    def train(self, run_folder: Path) -> TrainingRun:
        """Cross-validate, then fit to everyone; what comes out is saved in ``run_folder``."""
        prepared, cohort = self.prepare(), self.cohort()
        supervision = read_supervision(cohort, self.config.supervision, self.data)
        data = Labelled(prepared.tensors, supervision, self._sdmt(cohort, prepared))
        folds = self._folds(cohort)
        started = time.monotonic()
        with tqdm(total=(len(folds) + 1) * self.config.optimiser.epochs, unit="epoch") as bar:
            found, weights, curve = fit_all(data, folds, self.config, self.jobs, lambda n, r: _show(bar, n, r))
        run = TrainingRun(weights, tuple(curve), found, minutes=(time.monotonic() - started) / 60)
        run.save(run_folder)
        return run

    def release(self, run_folder: Path, bundle: Path) -> Bundle:
        """Evaluate the run in ``run_folder`` and write the bundle."""
        torch.set_num_threads(self.config.threads)
        prepared, cohort = self.prepare(), self.cohort()
        folds, run, sdmt = self._folds(cohort), load_run(run_folder), self._sdmt(cohort, prepared)
        scores = evaluate(
            prepared.tensors,
            cohort.ages_years,
            sdmt,
            run.out_of_fold,
            folds,
            self.config.evaluation,
            self.config.seed,
        )
        source = ReleaseInput(self.config, cohort, prepared.tensors, sdmt, folds, run, scores, self.assets)
        return release_bundle(source, bundle)

    def _folds(self, cohort: Cohort) -> tuple[Fold, ...]:
        return stratified_folds(cohort, self.config.evaluation.outer_folds, self.config.seed).folds

    def _sdmt(self, cohort: Cohort, prepared: PreparedCohort) -> npt.NDArray[np.float64]:
        return simulate_sdmt(cohort.ages_years, prepared.measures[BRAIN_VOLUME], self.config.seed)


def _show(bar: "tqdm[None]", what: str, report: EpochReport) -> None:
    bar.set_description(what)
    bar.set_postfix(loss=f"{report.total:.3f}", age=f"{report.supervised:.2f}", refresh=False)
    bar.update()
