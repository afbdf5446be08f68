"""What a latent has to beat, on the same folds: mean, age and sex, regional volumes, voxels without a network."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from med3d_export.heads import Groups, LabelledLatents, inner_splits, search_head
from med3d_export.subjects.folds import Fold

Floats = npt.NDArray[np.float64]
Tensors = npt.NDArray[np.float32]
_PENALTIES = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
_VOLUME_PENALTIES = tuple(np.logspace(-1, 4, 11))
LARGEST_COMPONENTS = 512


@dataclass(frozen=True)
class InnerSearch:
    """How every baseline chooses its settings: inner folds within each outer fold's training rows, by subject.

    groups: whose row each is, (N,), in the cohort's order.
    """

    folds: int
    seed: int
    groups: Groups

    def splits(self, labels: Floats, training: npt.NDArray[np.int64]) -> list[tuple[npt.NDArray[np.int64], ...]]:
        """Make it of the rows ``training``, counted from 0 among themselves."""
        return inner_splits(labels[training], self.groups[training], self.folds, self.seed)


def mean_only(labels: Floats, folds: tuple[Fold, ...]) -> Floats:
    """Return estimates (N,): the mean label of each fold's training subjects. Rows that no fold tests stay NaN."""
    return _per_fold(labels, folds, lambda fold: np.full(len(fold.test), labels[fold.training].mean()))


def age_and_sex(labels: Floats, ages_years: Floats, sexes: npt.NDArray[np.str_], folds: tuple[Fold, ...]) -> Floats:
    """Return estimates (N,) of another label, such as SDMT, from age and sex alone by least squares."""
    known = np.column_stack([np.ones(len(labels)), ages_years, (sexes == "F").astype(np.float64)])

    def predict(fold: Fold) -> Floats:
        weights, *_ = np.linalg.lstsq(known[fold.training], labels[fold.training], rcond=None)
        return np.asarray(known[fold.test] @ weights)

    return _per_fold(labels, folds, predict)


def volume_ridge(volumes: Floats, labels: Floats, folds: tuple[Fold, ...], inner: InnerSearch) -> Floats:
    """Fit ridge on standardised regional volumes (N, V), given as shares of the intracranial volume."""

    def predict(fold: Fold) -> Floats:
        search = GridSearchCV(
            make_pipeline(StandardScaler(), Ridge()),
            {"ridge__alpha": list(_VOLUME_PENALTIES)},
            scoring="neg_mean_absolute_error",
            cv=inner.splits(labels, fold.training),
        )
        search.fit(volumes[fold.training], labels[fold.training])
        return np.asarray(search.predict(volumes[fold.test]))

    return _per_fold(labels, folds, predict)


def voxel_kernel_ridge(tensors: Tensors, labels: Floats, folds: tuple[Fold, ...], inner: InnerSearch) -> Floats:
    """Fit linear kernel ridge on the tensors' voxels; the penalty is a multiple of the mean squared norm."""
    voxels = tensors.reshape(len(tensors), -1)

    def predict(fold: Fold) -> Floats:
        centred = voxels - voxels[fold.training].mean(axis=0)
        kernel = (centred @ centred[fold.training].T).astype(np.float64)
        own = kernel[fold.training]
        kernel /= np.trace(own) / len(own)
        search = GridSearchCV(
            KernelRidge(kernel="precomputed"),
            {"alpha": list(_PENALTIES)},
            scoring="neg_mean_absolute_error",
            cv=inner.splits(labels, fold.training),
        )
        mean = labels[fold.training].mean()
        search.fit(kernel[fold.training], labels[fold.training] - mean)
        return np.asarray(search.predict(kernel[fold.test]) + mean)

    return _per_fold(labels, folds, predict)


def voxel_components(tensors: Tensors, labels: Floats, folds: tuple[Fold, ...], inner: InnerSearch) -> Floats:
    """Fit principal components of voxels, min(512, n - 1) of them, then the very head that latents get.

    The scaler in that head blows the last components up to the size of the first. So that the baseline is no straw man,
    the inner folds also try the components turned at random, which keeps their distances through the scaler.
    """
    voxels = tensors.reshape(len(tensors), -1)

    def predict(fold: Fold) -> Floats:
        count = min(LARGEST_COMPONENTS, len(fold.training) - 1)
        pca = PCA(count, svd_solver="full").fit(voxels[fold.training])
        scores = pca.transform(voxels).astype(np.float64)
        turned = scores @ np.linalg.qr(np.random.default_rng(inner.seed).normal(size=(count, count)))[0]
        own = fold.training
        found = [
            (search_head(LabelledLatents(s[own], labels[own], inner.groups[own]), inner.folds, inner.seed), s)
            for s in (scores, turned)
        ]
        best, of_best = min(found, key=lambda pair: pair[0].inner_error)
        head: Pipeline = best.head
        return np.asarray(head.predict(of_best[fold.test]))

    return _per_fold(labels, folds, predict)


def _per_fold(labels: Floats, folds: tuple[Fold, ...], predict: Callable[[Fold], Floats]) -> Floats:
    estimates = np.full(len(labels), np.nan)
    for fold in folds:
        estimates[fold.test] = predict(fold)
    return estimates
