"""The figures of an evaluation as the flat names that a bundle's manifest holds."""

from dataclasses import asdict
from itertools import pairwise

import numpy as np

from med3d_export.evaluation.baseline_rows import AGE_AND_SEX, MEAN_ONLY, VOLUMES, VOXEL_COMPONENTS, VOXEL_RIDGE
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.protocol import BEFORE_TRAINING, EvaluationReport
from med3d_export.evaluation.regression import absolute_errors
from med3d_export.evaluation.scores import RegressionScores, Row
from med3d_export.evaluation.uncertainty import Interval
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.subjects.labels import Labels

NETWORK_SHARE = "age_network_share"
"""Of an estimated age: how much of it the age networks tell."""
PREFIXES = {
    MEAN_ONLY: "baseline_mean_only",
    BEFORE_TRAINING: "baseline_untrained_start",
    VOXEL_RIDGE: "baseline_voxel_kernel_ridge",
    VOXEL_COMPONENTS: "baseline_voxel_pca_svr",
    VOLUMES: "baseline_volume_ridge",
    AGE_AND_SEX: "baseline_age_sex",
}


def manifest_metrics(
    report: EvaluationReport, found: HeldOut, labels: Labels, config: EvaluationConfig
) -> dict[str, float]:
    """Return figures with four digits, in years or points; intervals end in ``_lower_95`` and ``_upper_95``."""
    method, latent, coverage = report.age[0], report.latent, report.latent.coverage["all"]
    metrics = _row("brain_age", method)
    metrics |= _scores("brain_age_corrected", method.corrected) if method.corrected else {}
    for row in report.age[1:]:
        metrics |= _row(PREFIXES[row.name], row)
    for row in report.sdmt:
        metrics |= _row("sdmt" if row is report.sdmt[0] else f"sdmt_{PREFIXES[row.name]}", row)
    metrics |= {
        "coverage": coverage.covered,
        "coverage_lower_95": coverage.lower,
        "coverage_upper_95": coverage.upper,
        "coverage_level": coverage.level,
        "interval_half_width_years": coverage.half_width,
        "brain_age_mae_varied_copies": float(np.nanmean(found.varied_age_error)),
        "reconstruction_error_share": latent.relative_error,
        "ssim_brain": latent.ssim_brain.value,
        "ssim_whole": latent.ssim_whole.value,
        "psnr_brain": latent.psnr_brain.value,
        "psnr_whole": latent.psnr_whole.value,
        "pls_r": latent.pls.r,
        "detectable_difference_years": report.detectable_years,
        **({"sex_auc": latent.sex_auc.value} if latent.sex_auc else {}),
    }
    metrics |= _sites(report) | _by_group(found, labels, config)
    return {name: round(value, 4) for name, value in metrics.items() if np.isfinite(value)}


def _sites(report: EvaluationReport) -> dict[str, float]:
    """Tell how well the site is read out of the latent.

    With a correction, how well and what the ages were without it.
    """
    site, plain = report.latent.site, report.uncorrected
    found = {} if site is None else {"site_accuracy": site[0], "site_accuracy_guessing": site[1]}
    if plain is None:
        return found
    found |= {"uncorrected_brain_age_mae": plain.age.raw.mae.value}
    return found | ({} if plain.site is None else {"uncorrected_site_accuracy": plain.site[0]})


def _row(prefix: str, row: Row) -> dict[str, float]:
    mae: Interval = row.raw.mae
    return _scores(prefix, row.raw) | {f"{prefix}_mae_lower_95": mae.lower, f"{prefix}_mae_upper_95": mae.upper}


def _scores(prefix: str, scores: RegressionScores) -> dict[str, float]:
    values = {name: value["value"] for name, value in asdict(scores).items() if isinstance(value, dict)}
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _by_group(found: HeldOut, labels: Labels, config: EvaluationConfig) -> dict[str, float]:
    """Return MAE per age band, sex and, of several, site, of groups with anybody in them; the mean gap of each site."""
    errors, ages, edges = absolute_errors(found.age, labels.ages_years), labels.ages_years, config.age_bands_years
    groups = {f"{low:g}_to_{high:g}": (ages >= low) & (ages < high) for low, high in pairwise(edges)}
    groups |= {name: labels.sexes == sex for name, sex in (("women", "F"), ("men", "M"))}
    sites = np.unique(labels.sites)
    if len(sites) > 1:
        groups |= {f"site_{name}": labels.sites == name for name in sites}
    found_in = {f"brain_age_mae_{name}": float(np.nanmean(errors[held])) for name, held in groups.items() if held.any()}
    gaps = np.nanmean(found.age, axis=0) - labels.ages_years
    biases = {f"brain_age_bias_site_{name}": float(np.nanmean(gaps[labels.sites == name])) for name in sites}
    return found_in | (biases if len(sites) > 1 else {})
