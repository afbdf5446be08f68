"""latent_space.npz: maps of the released encoder's latents, and calibration by subjects held out of its like."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from med3d_export.calibration import age_bias, clopper_pearson, corrected_gaps
from med3d_export.config import TrainingConfig
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.latent_maps import pca_map, pls_map, shrunk_covariance
from med3d_export.subjects.folds import Fold
from med3d_export.subjects.labels import MEASURED_LABELS, Labels
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import DecisionLimits

Floats = npt.NDArray[np.float64]


def calibrated_space(
    config: TrainingConfig, labels: Labels, found: HeldOut, latents: Floats, answered: Floats
) -> LatentSpace:
    """Return the latent space of everyone's ``latents`` (N, d), each age code by a network that had not seen the head.

    answered (N, d): what the released encoder says of the same heads, by which it knows them again.

    Residuals, bias and distances are those of the first repeat, so that each subject counts once; its folds' models had
    not seen the subjects that they are about.
    """
    ages, population, known = labels.ages_years, config.population, labels.with_sdmt
    pca, pls_age = pca_map(latents), pls_map(latents, ages)
    pls_sdmt = pls_map(latents[known], labels.sdmt[known])
    spread = shrunk_covariance(latents)
    gaps, folds = found.age[0] - ages, found.folds[0]
    return LatentSpace(
        pca_mean=pca.mean,
        pca_axes=pca.axes,
        pls_age_mean=pls_age.mean,
        pls_age_axes=pls_age.axes,
        pls_sdmt_mean=pls_sdmt.mean,
        pls_sdmt_axes=pls_sdmt.axes,
        cohort_pca=pca(answered),
        cohort_pls_age=pls_age(answered),
        cohort_pls_sdmt=pls_sdmt(answered),
        distance_mean=spread.mean,
        distance_axes=spread.axes,
        distance_variances=spread.variances,
        distance_floor=np.float64(spread.floor) * np.ones(()),
        held_out_distances=comparable_distances(found.distance[0], folds, len(spread.variances)),
        residuals=gaps,
        corrected_residuals=corrected_gaps(ages, gaps, folds),
        age_bias=age_bias(ages, gaps),
        ages=ages,
        field_strengths_t=np.array(population.field_strengths_t),
        sdmt_residuals=_sdmt_residuals(labels, found),
        held_out_reconstruction_errors=found.residual[0],
        vendors=np.array([vendor.upper() for vendor in population.vendors]),
    )


def without_traces(space: LatentSpace) -> LatentSpace:
    """Return the same without coordinates of training subjects and without what only a decoder can be held against.

    What stays of single subjects are age, residual and distance, each without a name.
    """
    nobody = np.empty((0, 2))
    return replace(
        space, cohort_pca=nobody, cohort_pls_age=nobody, cohort_pls_sdmt=nobody,
        held_out_reconstruction_errors=np.empty(0),
    )  # fmt: skip


def decision_limits(config: TrainingConfig, space: LatentSpace) -> DecisionLimits:
    """Tell where a head is reviewed or refused, from scores of held-out subjects: never those of training subjects."""
    decision, errors = config.decision, space.held_out_reconstruction_errors
    return DecisionLimits(
        interval_level=config.evaluation.interval_level,
        review_percentile=decision.review_percentile,
        refuse_distance=round(decision.refuse_factor * float(space.held_out_distances.max()), 3),
        refuse_reconstruction_error=round(decision.refuse_factor * float(errors.max()), 4) if len(errors) else None,
        field_strength_tolerance_t=decision.field_strength_tolerance_t,
    )


def false_alarms(limits: DecisionLimits, space: LatentSpace) -> dict[str, float]:
    """Return shares of good held-out heads that these limits review and refuse as unlike, upper bounds at 97.5 %."""
    distances, errors, count = space.held_out_distances, space.held_out_reconstruction_errors, len(space.ages)
    marked = np.array([space.percentile(float(distance)) > limits.review_percentile for distance in distances])
    beyond = distances > limits.refuse_distance
    if len(errors):
        poor = [space.reconstruction_percentile(float(error)) > limits.review_percentile for error in errors]
        marked |= np.array(poor)
        beyond |= errors > (limits.refuse_reconstruction_error or np.inf)
    reviewed, refused = int(marked.sum()), int(beyond.sum())
    return {
        "false_review_rate": reviewed / count,
        "false_review_rate_upper": clopper_pearson(reviewed, count)[1],
        "false_refusal_rate": refused / count,
        "false_refusal_rate_upper": clopper_pearson(refused, count)[1],
    }


def _sdmt_residuals(labels: Labels, found: HeldOut) -> Floats:
    """Make it of measured scores only: simulated ones calibrate nothing."""
    residuals = found.sdmt[0] - labels.sdmt
    return residuals[np.isfinite(residuals)] if labels.sdmt_evidence == MEASURED_LABELS else np.empty(0)


def comparable_distances(distances: Floats, folds: tuple[Fold, ...], directions: int) -> Floats:
    """Return held-out distances (N,) scaled by everyone's covariance, which has more directions than a fold's.

    There are fewer subjects than dimensions, so every further subject adds a direction of variance, and squared
    distances grow with the number of directions.
    """
    scaled = distances.copy()
    for fold in folds:
        scaled[fold.test] *= np.sqrt(directions / min(directions, len(fold.training) - 1))
    return scaled
