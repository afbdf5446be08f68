"""Objectives against each other: the same folds, the same seeds, the same search budget, paired by subject."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

from med3d_export.evaluation.baseline_rows import BaselineEstimates
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.image_quality import ImageQuality
from med3d_export.evaluation.protocol import (
    LEAST_PAIRS,
    EvaluationReport,
    detectable_between_baselines,
    paired_errors,
)
from med3d_export.evaluation.scores import Row, regression_scores
from med3d_export.evaluation.uncertainty import PairedComparison, compare_paired, mean_of_people
from med3d_export.subjects.labels import Labels

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ComparisonPlan:
    """What was fixed before any objective was fitted: who is compared, with what budget, and what can be detected."""

    reference: str
    variants: tuple[str, ...]
    candidates_each: int
    seeds: tuple[int, ...]
    subjects: int
    detectable_years: float


@dataclass(frozen=True)
class Pairing:
    """The reference against one other variant, on the subjects and repeats that both tested.

    error: absolute error in years, reference minus other. image: by measure, other minus reference, so that negative
    favours the reference throughout. adjusted_p: of ``error``, Benjamini-Hochberg over all variants. restricted: MAE of
    both on the shared subjects and repeats, reference first.
    """

    error: PairedComparison
    adjusted_p: float
    image: dict[str, PairedComparison]
    restricted: tuple[Row, Row]


@dataclass(frozen=True)
class ComparisonReport:
    """Everything that comparison.json holds; ``chosen``: by variant, how often each candidate won the inner search."""

    plan: ComparisonPlan
    methods: dict[str, EvaluationReport]
    pairings: dict[str, Pairing]
    chosen: dict[str, tuple[int, ...]]


def compare_variants(
    plan: ComparisonPlan, reports: dict[str, EvaluationReport], found: dict[str, HeldOut], labels: Labels, seed: int
) -> ComparisonReport:
    """Pair the plan's reference with every other variant."""
    others = [name for name in plan.variants if name != plan.reference]
    first = found[plan.reference]
    errors = {name: paired_errors(first.age, found[name].age, labels, seed) for name in others}
    paired = {name: error for name, error in errors.items() if error is not None}
    adjusted = false_discovery_control([error.permutation_p for error in paired.values()]) if paired else []
    pairings = {
        name: Pairing(
            error=error,
            adjusted_p=float(p),
            image=_paired_images(first.quality, found[name].quality, labels, seed),
            restricted=_restricted(reports, plan.reference, name, found, labels, seed),
        )
        for (name, error), p in zip(paired.items(), adjusted, strict=True)
    }
    chosen = {name: _chosen(found[name], plan.candidates_each) for name in plan.variants}
    return ComparisonReport(plan, reports, pairings, chosen)


def _restricted(
    reports: dict[str, EvaluationReport], one: str, other: str, found: dict[str, HeldOut], labels: Labels, seed: int
) -> tuple[Row, Row]:
    both = np.isfinite(found[one].age) & np.isfinite(found[other].age)
    rows = []
    for name in (one, other):
        estimates = np.where(both, found[name].age, np.nan)
        method, subjects = reports[name].method, int(both.any(axis=0).sum())
        rows.append(
            Row(
                name,
                method.kind,
                subjects,
                len(estimates),
                regression_scores(estimates, labels.ages_years, seed, labels.subjects),
            )
        )
    return rows[0], rows[1]


def _paired_images(first: ImageQuality, second: ImageQuality, labels: Labels, seed: int) -> dict[str, PairedComparison]:
    pairs = {}
    for field in fields(ImageQuality):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        both = np.isfinite(ours) & np.isfinite(theirs)
        shared = both.any(axis=0)
        if len(np.unique(labels.subjects[shared])) >= LEAST_PAIRS:
            means = [
                mean_of_people(np.nanmean(np.where(both, each, np.nan)[:, shared], axis=0), labels.subjects[shared])
                for each in (theirs, ours)
            ]
            pairs[field.name] = compare_paired(means[0], means[1], seed)
    return pairs


def _chosen(found: HeldOut, candidates: int) -> tuple[int, ...]:
    won = [one.candidate for of_repeat in found.chosen for one in of_repeat]
    return tuple(int(count) for count in np.bincount(won, minlength=candidates))


def detectable_plan(
    variants: tuple[str, ...], candidates: int, baselines: BaselineEstimates, labels: Labels, seeds: tuple[int, ...]
) -> ComparisonPlan:
    """Return the plan of a comparison: nothing but baselines and the cohort goes into it."""
    detectable = detectable_between_baselines(baselines, labels)
    return ComparisonPlan(variants[0], variants, candidates, seeds, len(labels), detectable)
