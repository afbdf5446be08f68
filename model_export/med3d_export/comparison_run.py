"""``med3d-export compare``: fix the plan, fit every objective on the same folds, evaluate each, pair them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter

from med3d_export.config import SupervisionConfig, TrainingConfig
from med3d_export.cross_validation import fold_jobs, read_evidence, repeat_seeds
from med3d_export.evaluation.baseline_rows import baseline_estimates
from med3d_export.evaluation.comparison import ComparisonPlan, ComparisonReport, compare_variants, detectable_plan
from med3d_export.evaluation.held_out import held_out
from med3d_export.evaluation.protocol import Method, evaluate_method
from med3d_export.evaluation_config import VariantConfig
from med3d_export.experiment import REPORT, Experiment, kind_of
from med3d_export.objectives import ObjectiveConfig
from med3d_export.report.comparison_report import write_comparison
from med3d_export.report.evaluation_report import SCOPES
from med3d_export.result_files import write_json, write_predictions


class ComparisonError(Exception):
    """The recipe does not say what to compare; the message says what is missing."""


@dataclass(frozen=True)
class Variant:
    """One objective of the comparison: its recipe per candidate."""

    name: str
    candidates: tuple[TrainingConfig, ...]

    @property
    def config(self) -> TrainingConfig:
        """What all candidates share is read from the first."""
        return self.candidates[0]


def variants_of(config: TrainingConfig) -> tuple[Variant, ...]:
    """Return the recipe with each objective of ``[comparison]`` in its place.

    Raises ComparisonError below two, pydantic.ValidationError where a candidate is no objective.
    """
    if len(config.comparison.variants) < 2:
        raise ComparisonError("[[comparison.variants]] must name at least two objectives to compare")
    return tuple(_variant(config, variant) for variant in config.comparison.variants)


def _variant(config: TrainingConfig, variant: VariantConfig) -> Variant:
    settings = config.evaluation.model_copy(update={"scope": variant.scope})
    supervision = config.supervision
    if variant.supervision is not None:
        supervision = SupervisionConfig.model_validate(variant.supervision)
    # Objectives are compared by what they make of the latent: nothing supervised stands beside it.
    named = config.model_copy(
        update={"name": variant.name, "evaluation": settings, "supervision": supervision, "age_network": None}
    )
    adapter: TypeAdapter[ObjectiveConfig] = TypeAdapter(ObjectiveConfig)
    objectives = [adapter.validate_python(candidate) for candidate in variant.candidates]
    return Variant(variant.name, tuple(named.with_objective(objective) for objective in objectives))


def compare(experiment: Experiment, run_folder: Path, say: Callable[[ComparisonPlan], None]) -> ComparisonReport:
    """Run the whole comparison in ``run_folder``; fits that are there already are not made again.

    ``say`` is told the plan, which is also written to plan.json, before the first fit.
    """
    config, variants = experiment.config, variants_of(experiment.config)
    prepared, cohort = experiment.prepare(), experiment.cohort()
    labels, splits = experiment.labels(cohort, prepared), experiment.splits(cohort, run_folder)
    settings = config.evaluation
    torch.set_num_threads(config.threads)
    baselines = baseline_estimates(prepared.tensors, labels, splits, settings.inner_folds)
    names, budget = tuple(variant.name for variant in variants), len(variants[0].candidates)
    plan = detectable_plan(names, budget, baselines, labels, repeat_seeds(config))
    write_json(plan, run_folder / "plan.json")
    say(plan)
    jobs = {variant.name: fold_jobs(run_folder / variant.name, variant.candidates, splits) for variant in variants}
    data = experiment.fit_data(variant.config for variant in variants)
    experiment.run(data, [job for each in jobs.values() for job in each], run_folder)
    found = {name: held_out(read_evidence(data, each), labels, settings) for name, each in jobs.items()}
    reports = {
        variant.name: evaluate_method(
            Method(variant.name, kind_of(variant.config)), found[variant.name], baselines, labels,
            variant.config.evaluation, config.seed,
        )
        for variant in variants
    }  # fmt: skip
    report = compare_variants(plan, reports, found, labels, config.seed)
    write_json(report, run_folder / "comparison.json")
    for name, each in found.items():
        write_predictions(each, baselines, labels, run_folder / name / "predictions.csv")
    scopes = {variant.name: SCOPES[variant.config.evaluation.scope] for variant in variants}
    monitors = {
        variant.name: experiment.observe_folds(run_folder / variant.name, found[variant.name], variant.candidates)
        for variant in variants
    }
    write_comparison(report, scopes, monitors, run_folder / REPORT)
    return report
