"""One run's evaluation: the method's rows, the baselines' rows on the same folds, the paired tests between them."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.baseline_rows import MEAN_ONLY, BaselineEstimates
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.regression import absolute_errors
from med3d_export.evaluation.scores import (
    Kind,
    LatentScores,
    Row,
    age_row,
    latent_scores,
    regression_scores,
    site_score,
)
from med3d_export.evaluation.uncertainty import PairedComparison, compare_paired, detectable_difference, mean_of_people
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.subjects.labels import Labels

Floats = npt.NDArray[np.float64]
BEFORE_TRAINING = "before training: the same networks at their start"
LEAST_PAIRS = 10


@dataclass(frozen=True)
class Method:
    """What a row is called and whether a label of the training subjects reached the encoder."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that evaluation.json holds.

    against: absolute error of the method minus that of the named one, years. uncorrected: None where nothing was
    corrected for sites.

    scope: ``all-folds`` or ``first-fold``; detectable_years: what could be found at all, from the baselines alone (see
    ``detectable_between_baselines``), computed before any trained row was looked at.
    """

    method: Method
    scope: str
    seeds: tuple[int, ...]
    subjects: int
    detectable_years: float
    age: tuple[Row, ...]
    sdmt: tuple[Row, ...]
    sdmt_evidence: str
    latent: LatentScores
    against: dict[str, PairedComparison]
    uncorrected: "UncorrectedScores | None" = None


@dataclass(frozen=True)
class UncorrectedScores:
    """The same fits and folds without the correction for sites. site: as in LatentScores; age: the method's row."""

    site: tuple[float, float] | None
    age: Row


def evaluate_method(
    method: Method, found: HeldOut, baselines: BaselineEstimates, labels: Labels, config: EvaluationConfig, seed: int,
    uncorrected: HeldOut | None = None,
) -> EvaluationReport:  # fmt: skip
    """Score held-out estimates beside the baselines'. ``seed`` fixes bootstrap and permutations.

    uncorrected: what the same fits give where ``found`` is corrected for sites.
    """
    ages = labels.ages_years
    rows = [age_row(method.name, method.kind, found, labels, seed)]
    others = {BEFORE_TRAINING: found.start_age, **baselines.age}
    rows += [_row(name, estimates, ages, labels, seed) for name, estimates in others.items()]
    return EvaluationReport(
        method=method,
        scope=config.scope,
        seeds=tuple(of_repeat[0].seed for of_repeat in found.chosen),
        subjects=len(labels),
        detectable_years=detectable_between_baselines(baselines, labels),
        age=tuple(rows),
        sdmt=_sdmt_rows(method, found, baselines, labels, seed),
        sdmt_evidence=labels.sdmt_evidence,
        latent=latent_scores(found, labels, config, seed),
        against={
            name: paired
            for name, estimates in others.items()
            if (paired := paired_errors(found.age, estimates, labels, seed))
        },
        uncorrected=None
        if uncorrected is None
        else UncorrectedScores(
            site_score(uncorrected, labels), age_row(method.name, method.kind, uncorrected, labels, seed)
        ),
    )


def paired_errors(first: Floats, second: Floats, labels: Labels, seed: int) -> PairedComparison | None:
    """Return absolute errors of two methods (R, N) on subjects and repeats that both have.

    None where they share too few.
    """
    both = np.isfinite(first) & np.isfinite(second)
    ours, theirs = (absolute_errors(np.where(both, each, np.nan), labels.ages_years) for each in (first, second))
    shared = np.isfinite(ours)
    people = labels.subjects[shared]
    if len(np.unique(people)) < LEAST_PAIRS:
        return None
    return compare_paired(mean_of_people(ours[shared], people), mean_of_people(theirs[shared], people), seed)


LESS_ALIKE = (
    "Baselines that read the same voxels agree head by head:\nwhere there are no others, methods that are less alike "
    "need more, and each pair's own figure in the tables counts."
)


def detectable_between_baselines(baselines: BaselineEstimates, labels: Labels) -> float:
    """Return the smallest mean difference in absolute error, in years, that this cohort shows with a power of 0.8.

    From the paired errors of the two baselines that differ most from each other, the mean left out: two ways of reading
    one image are what two latents are, too. (Two readings of the same voxels agree almost subject by subject and would
    promise too much.) No trained model enters, so that the figure can be written down before any is compared.
    """
    errors = [absolute_errors(found, labels.ages_years) for name, found in baselines.age.items() if name != MEAN_ONLY]
    differences = [one - other for one, other in combinations(errors, 2)]
    known = [(pairs[np.isfinite(pairs)], labels.subjects[np.isfinite(pairs)]) for pairs in differences]
    return max(detectable_difference(mean_of_people(pairs, people)) for pairs, people in known)


def _row(name: str, estimates: Floats, values: Floats, labels: Labels, seed: int) -> Row:
    tested = int(np.isfinite(np.atleast_2d(estimates)).any(axis=0).sum())
    return Row(
        name,
        "baseline",
        tested,
        len(np.atleast_2d(estimates)),
        regression_scores(estimates, values, seed, labels.subjects),
    )


def _sdmt_rows(
    method: Method, found: HeldOut, baselines: BaselineEstimates, labels: Labels, seed: int
) -> tuple[Row, ...]:
    if not np.isfinite(found.sdmt).any():
        return ()
    rows = [
        Row(
            method.name,
            method.kind,
            *_extent(found.sdmt),
            regression_scores(found.sdmt, labels.sdmt, seed, labels.subjects),
        )
    ]
    rows += [_row(name, estimates, labels.sdmt, labels, seed) for name, estimates in baselines.sdmt.items()]
    return tuple(rows)


def _extent(estimates: Floats) -> tuple[int, int]:
    return int(np.isfinite(estimates).any(axis=0).sum()), len(estimates)
