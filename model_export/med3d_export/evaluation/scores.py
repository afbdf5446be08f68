"""What a table's row says of one method, as values that go into evaluation.json and into the report."""

from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from med3d_export.calibration import Coverage, corrected_gaps, coverage_by_age, measured_coverage
from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.image_quality import ImageQuality
from med3d_export.evaluation.probes import PlsCheck, pls_check, sex_auc, site_accuracy
from med3d_export.evaluation.reactive_intervals import ReactiveWidths, reactive_widths
from med3d_export.evaluation.regression import regression_metrics
from med3d_export.evaluation.uncertainty import Interval, People, bootstrap_interval, bootstrap_table
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.subjects.labels import Labels

Floats = npt.NDArray[np.float64]
Kind = Literal["baseline", "unsupervised", "semi-supervised"]


@dataclass(frozen=True)
class RegressionScores:
    """Metrics averaged over repeats, with bootstrap intervals over subjects; mae_by_repeat: what seeds and folds do."""

    mae: Interval
    rmse: Interval
    r: Interval
    r2: Interval
    gap_slope: Interval
    mae_by_repeat: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One method's estimates of one label. subjects: how many were tested; repeats: how often."""

    name: str
    kind: Kind
    subjects: int
    repeats: int
    raw: RegressionScores
    corrected: RegressionScores | None = None


@dataclass(frozen=True)
class LatentScores:
    """What else is known of a method's latent and decoder; None where it cannot be asked.

    The image measures are means over test heads; ``mean_head_``: the same for the training subjects' mean head.
    relative_error: median squared error over the mean head's. site: balanced accuracy and that of guessing.
    coverage: of raw gaps by age band, ``all`` first; corrected_coverage: of bias-corrected gaps. reactive: what widths
    that follow a measure of difficulty would be, by its name; empty like ``coverage`` where not all were tested.
    """

    ssim_brain: Interval
    ssim_whole: Interval
    psnr_brain: Interval
    psnr_whole: Interval
    mean_head_ssim_brain: float
    mean_head_psnr_brain: float
    relative_error: float
    sex_auc: Interval | None
    site: tuple[float, float] | None
    pls: PlsCheck
    coverage: dict[str, Coverage]
    corrected_coverage: Coverage | None
    reactive: dict[str, ReactiveWidths]
    sdmt_coverage: Coverage | None


def regression_scores(estimates: Floats, labels: Floats, seed: int, people: People = None) -> RegressionScores:
    """Compute it of out-of-fold estimates (N,) or (R, N); people (N,): see bootstrap_table.

    Subjects that a repeat did not test are NaN there and left out of it.
    """
    rows = np.atleast_2d(estimates)
    tested = np.isfinite(rows).any(axis=0)
    kept, own = rows[:, tested], labels[tested]

    def statistic(drawn: npt.NDArray[np.int64]) -> dict[str, float]:
        return asdict(regression_metrics(kept[:, drawn], own[drawn]))

    by_repeat = tuple(regression_metrics(row, labels).mae for row in rows)
    return RegressionScores(
        **bootstrap_table(statistic, int(tested.sum()), seed, None if people is None else people[tested]),
        mae_by_repeat=by_repeat,
    )


def corrected_estimates(found: HeldOut, ages_years: Floats) -> Floats | None:
    """Return estimates (R, N) with the age bias of each fold's training subjects taken out.

    None where not all were tested.
    """
    if not found.is_complete:
        return None
    gaps = [
        corrected_gaps(ages_years, row - ages_years, folds) for row, folds in zip(found.age, found.folds, strict=True)
    ]
    return np.asarray(ages_years + np.array(gaps))


def age_row(name: str, kind: Kind, found: HeldOut, labels: Labels, seed: int) -> Row:
    """Return brain age of one trained method: raw, and bias-corrected where every subject was tested."""
    corrected = corrected_estimates(found, labels.ages_years)
    return Row(
        name=name,
        kind=kind,
        subjects=int(found.tested.sum()),
        repeats=len(found.age),
        raw=regression_scores(found.age, labels.ages_years, seed, labels.subjects),
        corrected=None if corrected is None else regression_scores(corrected, labels.ages_years, seed, labels.subjects),
    )


def latent_scores(found: HeldOut, labels: Labels, config: EvaluationConfig, seed: int) -> LatentScores:
    """Return everything but the age estimates themselves."""
    image = {
        field.name: _mean_interval(getattr(found.quality, field.name), labels, seed) for field in fields(ImageQuality)
    }
    return LatentScores(
        ssim_brain=image["ssim_brain"],
        ssim_whole=image["ssim_whole"],
        psnr_brain=image["psnr_brain"],
        psnr_whole=image["psnr_whole"],
        mean_head_ssim_brain=float(np.nanmean(found.mean_head.ssim_brain)),
        mean_head_psnr_brain=float(np.nanmean(found.mean_head.psnr_brain)),
        relative_error=float(np.nanmedian(found.relative_error)),
        sex_auc=_sex(found, labels, seed),
        site=site_score(found, labels),
        pls=_pls(found, labels, seed),
        coverage=_coverage(found, labels, config),
        corrected_coverage=_corrected_coverage(found, labels, config.interval_level),
        reactive=reactive_widths(found, labels, config.interval_level) if found.is_complete else {},
        sdmt_coverage=_sdmt_coverage(found, labels, config.interval_level),
    )


def _mean_interval(values: Floats, labels: Labels, seed: int) -> Interval:
    tested = np.isfinite(values).any(axis=0)
    per_subject = np.nanmean(values[:, tested], axis=0)
    return bootstrap_interval(lambda column: float(np.mean(column)), (per_subject,), seed, labels.subjects[tested])


def _sex(found: HeldOut, labels: Labels, seed: int) -> Interval | None:
    if not np.isfinite(found.woman).any():
        return None
    tested = np.isfinite(found.woman).any(axis=0)
    scores, sexes = np.nanmean(found.woman[:, tested], axis=0), labels.sexes[tested]

    def statistic(rows: npt.NDArray[np.int64]) -> float:
        # A draw without one of the sexes has no AUC; with any cohort worth the name there is no such draw.
        return sex_auc(scores[rows], sexes[rows]) if len(np.unique(sexes[rows])) > 1 else 0.5

    return bootstrap_interval(statistic, (np.arange(len(scores)),), seed, labels.subjects[tested])


def site_score(found: HeldOut, labels: Labels) -> tuple[float, float] | None:
    """Return balanced accuracy of the site out of the latent and that of guessing.

    None where there is one site only.
    """
    tested = found.site[0] != ""
    if not tested.any() or len(np.unique(labels.sites[tested])) < 2:
        return None
    return site_accuracy(found.site[0][tested], labels.sites[tested])


def _pls(found: HeldOut, labels: Labels, seed: int) -> PlsCheck:
    folds = [(one.latents.astype(np.float64), one.training, one.test) for one in found.chosen[0]]
    return pls_check(folds, labels.ages_years, seed)


def _coverage(found: HeldOut, labels: Labels, config: EvaluationConfig) -> dict[str, Coverage]:
    if not found.is_complete:
        return {}
    # One repeat, so that each subject counts once in the Clopper-Pearson interval.
    gaps, folds, level = found.age[0] - labels.ages_years, found.folds[0], config.interval_level
    bands = coverage_by_age(gaps, labels.ages_years, folds, level, config.age_bands_years)
    return {"all": measured_coverage(gaps, folds, level), **bands}


def _corrected_coverage(found: HeldOut, labels: Labels, level: float) -> Coverage | None:
    corrected = corrected_estimates(found, labels.ages_years)
    if corrected is None:
        return None
    return measured_coverage(corrected[0] - labels.ages_years, found.folds[0], level)


def _sdmt_coverage(found: HeldOut, labels: Labels, level: float) -> Coverage | None:
    if not np.isfinite(found.sdmt[0]).all():
        return None
    return measured_coverage(found.sdmt[0] - labels.sdmt, found.folds[0], level)
