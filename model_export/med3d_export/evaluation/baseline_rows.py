"""The baselines as rows of the same table: recomputed on the very folds of every repeat."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from med3d_export.baselines import (
    InnerSearch,
    age_and_sex,
    mean_only,
    volume_ridge,
    voxel_components,
    voxel_kernel_ridge,
)
from med3d_export.subjects.folds import Fold
from med3d_export.subjects.labels import Labels

Floats = npt.NDArray[np.float64]
Tensors = npt.NDArray[np.float32]
MEAN_ONLY = "mean only"
VOLUMES = "ridge on regional volumes"
VOXEL_COMPONENTS = "voxel PCA + SVR"
VOXEL_RIDGE = "linear kernel ridge on voxels"
AGE_AND_SEX = "age and sex"


@dataclass(frozen=True, eq=False)
class BaselineEstimates:
    """By the baseline's name: estimates (R, N), NaN where a repeat did not test the subject."""

    age: dict[str, Floats]
    sdmt: dict[str, Floats]


def baseline_estimates(
    tensors: Tensors, labels: Labels, splits: dict[int, tuple[Fold, ...]], inner_folds: int
) -> BaselineEstimates:
    """Fit every baseline in every fold of ``splits`` (by the repeat's seed); SDMT among subjects who have a score."""
    ages, volumes = labels.ages_years, labels.volumes
    by_name: dict[str, Callable[[tuple[Fold, ...], InnerSearch], Floats]] = {
        MEAN_ONLY: lambda folds, _: mean_only(ages, folds),
        VOXEL_COMPONENTS: lambda folds, inner: voxel_components(tensors, ages, folds, inner),
        VOXEL_RIDGE: lambda folds, inner: voxel_kernel_ridge(tensors, ages, folds, inner),
    }
    if volumes is not None:
        by_name[VOLUMES] = lambda folds, inner: volume_ridge(volumes, ages, folds, inner)
    searches = {seed: InnerSearch(inner_folds, seed, labels.subjects) for seed in splits}
    return BaselineEstimates(
        age={
            name: np.array([estimate(folds, searches[seed]) for seed, folds in splits.items()])
            for name, estimate in by_name.items()
        },
        sdmt=_sdmt(labels, splits),
    )


def _sdmt(labels: Labels, splits: dict[int, tuple[Fold, ...]]) -> dict[str, Floats]:
    known = labels.with_sdmt
    if not known.any():
        return {}
    kept = [
        tuple(Fold(fold.training[known[fold.training]], fold.test[known[fold.test]]) for fold in folds)
        for folds in splits.values()
    ]
    return {
        MEAN_ONLY: np.array([mean_only(labels.sdmt, folds) for folds in kept]),
        AGE_AND_SEX: np.array([age_and_sex(labels.sdmt, labels.ages_years, labels.sexes, folds) for folds in kept]),
    }
