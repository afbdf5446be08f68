"""Fit every objective to the phantom cohort and ask its latents for the factors."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA

from med3d_export.config import TrainingConfig
from med3d_export.phantom.cohort import phantom_cohort, phantom_tensors
from med3d_export.phantom.factors import PhantomDesign, PhantomFactors, draw_factors
from med3d_export.phantom.recovery import FactorRecovery, factor_table, read_out, recover_factors
from med3d_export.subjects.folds import Fold, stratified_folds
from med3d_export.subjects.supervision import Supervision
from med3d_export.training import EpochReport, Tensors, fit_autoencoder
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.spec import PreprocessSpec

Floats = npt.NDArray[np.float64]
VOXELS = "voxel PCA, no network"
OnEpoch = Callable[[str, EpochReport], None]


@dataclass(frozen=True, eq=False)
class PhantomTrial:
    """A phantom cohort in memory and its folds; every objective sees the same people, folds and seeds."""

    config: TrainingConfig
    factors: PhantomFactors
    tensors: Tensors
    folds: tuple[Fold, ...]

    @classmethod
    def prepared(
        cls, config: TrainingConfig, template: Template, spec: PreprocessSpec, design: PhantomDesign
    ) -> "PhantomTrial":
        """Draw ``config.phantom.count`` people and make their tensors."""
        factors = draw_factors(config.phantom.count, config.seed, design)
        tensors = phantom_tensors(factors, template, spec, config.seed, design)
        folds = stratified_folds(phantom_cohort(factors, Path()), config.phantom.folds, config.seed).folds
        return cls(config, factors, tensors, folds)

    def run(self, on_epoch: OnEpoch = lambda _name, _report: None) -> tuple[FactorRecovery, ...]:
        """Fit the recipe's objective and each of its phantom variants in every fold with every seed, and score them."""
        truth = factor_table(self.factors)
        own = self.config.objective.kind
        objectives = {own: self.config.objective} | self.config.phantom.variants
        found = {name: self._estimates(self.config.with_objective(o), name, on_epoch) for name, o in objectives.items()}
        found[VOXELS] = self._voxel_estimates(truth)[None]
        return recover_factors(found, truth, self.folds, own, self.config.seed)

    def _estimates(self, config: TrainingConfig, name: str, on_epoch: OnEpoch) -> Floats:
        truth = factor_table(self.factors)
        labels = Supervision.of(phantom_cohort(self.factors, Path()), config.supervision)
        found = np.full((config.phantom.seeds, *truth.shape), np.nan)
        for repeat in range(config.phantom.seeds):
            for number, fold in enumerate(self.folds):
                seed = config.seed + 100 * repeat + number
                fitted = fit_autoencoder(
                    self.tensors[fold.training],
                    labels.targets(fold.training),
                    config,
                    seed,
                    lambda r: on_epoch(name, r),
                )
                own, others = (
                    fitted.encode(self.tensors[fold.training]),
                    fitted.encode(self.tensors[fold.test]),
                )
                found[repeat, fold.test] = read_out(own, truth[fold.training], others)
        return found

    def _voxel_estimates(self, truth: Floats) -> Floats:
        voxels = self.tensors.reshape(len(self.tensors), -1)
        found = np.full_like(truth, np.nan)
        for fold in self.folds:
            components = PCA(min(self.config.network.latent, len(fold.training) - 1), svd_solver="full")
            own = components.fit_transform(voxels[fold.training])
            found[fold.test] = read_out(own, truth[fold.training], components.transform(voxels[fold.test]))
        return found


def write_recovery(found: tuple[FactorRecovery, ...], folder: Path) -> None:
    """Write recovery.json and recovery.md in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recovery.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")
    picture = "\n![How far each latent recovers each factor; dotted: the ceiling](recovery.png)\n"
    (folder / "recovery.md").write_text(recovery_table(found) + picture, encoding="utf-8")


def recovery_table(found: tuple[FactorRecovery, ...]) -> str:
    """Return Markdown: R2 of each factor, its interval over people, and the ceiling."""
    factors = [score.factor for score in found[0].scores]
    lines = [
        "# What the latents know of the phantoms",
        "",
        "R2 out of fold by ridge on the latent, with its 95 % interval over people. Ceiling: what the factors that",
        "shaped the image know; 1 for these themselves. In square brackets: the difference of squared errors from the",
        "first method's in units of the factor's variance, negative where the method is better, with its paired 95 %",
        "interval.",
        "",
        "| method | " + " | ".join(factors) + " |",
        "| --- |" + " --- |" * len(factors),
        "| ceiling | " + " | ".join(f"{score.ceiling:.2f}" for score in found[0].scores) + " |",
    ]
    for one in found:
        cells = [str(s.r2) + (f" [{s.versus_reference.difference}]" if s.versus_reference else "") for s in one.scores]
        lines.append(f"| {one.method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
