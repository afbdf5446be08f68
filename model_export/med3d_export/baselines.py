"""What a latent has to beat, on the same folds: the mean, and voxels without any network."""

import numpy as np
import numpy.typing as npt
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold

from med3d_export.folds import Fold

Floats = npt.NDArray[np.float64]
_PENALTIES = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)


def mean_age(ages_years: Floats, folds: tuple[Fold, ...]) -> Floats:
    """Estimates (N,): the mean age of each fold's training subjects."""
    estimates = np.empty_like(ages_years)
    for fold in folds:
        estimates[fold.test] = ages_years[fold.training].mean()
    return estimates


def voxel_kernel_ridge(
    tensors: npt.NDArray[np.float32], ages_years: Floats, folds: tuple[Fold, ...], inner_folds: int, seed: int
) -> Floats:
    """Out-of-fold estimates (N,) of linear kernel ridge on voxels; the penalty is chosen by inner cross-validation."""
    voxels = tensors.reshape(len(tensors), -1)
    estimates = np.empty_like(ages_years)
    for fold in folds:
        centred = voxels - voxels[fold.training].mean(axis=0)
        kernel = (centred @ centred[fold.training].T).astype(np.float64)
        own = kernel[fold.training]
        kernel /= np.trace(own) / len(own)
        search = GridSearchCV(
            KernelRidge(kernel="precomputed"),
            {"alpha": list(_PENALTIES)},
            scoring="neg_mean_absolute_error",
            cv=KFold(inner_folds, shuffle=True, random_state=seed),
        )
        mean = ages_years[fold.training].mean()
        search.fit(kernel[fold.training], ages_years[fold.training] - mean)
        estimates[fold.test] = search.predict(kernel[fold.test]) + mean
    return estimates
