"""What else a latent knows: sex, the site that it should not know, and whether its PLS axis is more than chance."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from med3d_export.heads import Groups, inner_splits

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]
Indices = npt.NDArray[np.int64]
_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
PERMUTATIONS = 200
_PLS_COMPONENTS = 2


def _classifier(latents: Floats, labels: Labels, groups: Groups, inner_folds: int, seed: int) -> Pipeline:
    splits = inner_splits(np.zeros(len(labels)), groups, inner_folds, seed)
    # An inner fold whose training rows all have one label cannot be fitted; small cohorts of several sites have such.
    usable = [split for split in splits if len(np.unique(labels[split[0]])) > 1]
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    search = GridSearchCV(model, {"logisticregression__C": list(_STRENGTHS)}, scoring="accuracy", cv=usable)
    best: Pipeline = search.fit(latents, labels).best_estimator_
    return best


def woman_scores(
    latents: Floats, sexes: Labels, groups: Groups, training: Indices, test: Indices, inner_folds: int, seed: int
) -> Floats:
    """Return log odds (T,) that test rows are of women, by logistic regression on training rows' latents (N, d)."""
    model = _classifier(latents[training], sexes[training], groups[training], inner_folds, seed)
    sign = 1.0 if model.classes_[1] == "F" else -1.0
    return np.asarray(sign * model.decision_function(latents[test]), dtype=np.float64)


def sex_auc(scores: Floats, sexes: Labels) -> float:
    """Return area under the ROC curve of out-of-fold scores (N,)."""
    return float(roc_auc_score(sexes == "F", scores))


def predicted_sites(
    latents: Floats, sites: Labels, groups: Groups, training: Indices, test: Indices, inner_folds: int, seed: int
) -> Labels:
    """Return the site (T,) that a logistic regression on latents reads out of the test rows."""
    model = _classifier(latents[training], sites[training], groups[training], inner_folds, seed)
    return np.asarray(model.predict(latents[test]))


def site_accuracy(predicted: Labels, sites: Labels) -> tuple[float, float]:
    """Return balanced accuracy of out-of-fold sites (N,), and that of guessing, one over the number of sites."""
    return float(balanced_accuracy_score(sites, predicted)), 1.0 / len(np.unique(sites))


@dataclass(frozen=True)
class PlsCheck:
    """Out-of-fold r of a two-component PLS with the label; null: the same with labels shuffled, its 95th percentile.

    p: share of shuffles at least as good, (1 + k) / (1 + n).
    """

    r: float
    null_95: float
    p: float


def pls_out_of_fold(folds: list[tuple[Floats, Indices, Indices]], labels: Floats) -> Floats:
    """Estimate (N,) by PLS regression on latents; each fold has its own latents (N, d), training and test rows."""
    estimates = np.full(len(labels), np.nan)
    for latents, training, test in folds:
        pls = PLSRegression(_PLS_COMPONENTS, scale=True).fit(latents[training], labels[training])
        estimates[test] = pls.predict(latents[test]).reshape(-1)
    return estimates


def pls_check(folds: list[tuple[Floats, Indices, Indices]], labels: Floats, seed: int) -> PlsCheck:
    """Shuffle labels and refit PLS in every fold. Labels that went into the encoder are not shuffled there."""
    draws = np.random.default_rng(seed)
    found = _correlation(pls_out_of_fold(folds, labels), labels)
    null = []
    for _ in range(PERMUTATIONS):
        shuffled = draws.permutation(labels)
        null.append(_correlation(pls_out_of_fold(folds, shuffled), shuffled))
    at_least = int(np.sum(np.array(null) >= found))
    return PlsCheck(found, float(np.percentile(null, 95)), (1 + at_least) / (1 + PERMUTATIONS))


def _correlation(estimates: Floats, labels: Floats) -> float:
    tested = np.isfinite(estimates)
    return float(np.corrcoef(estimates[tested], labels[tested])[0, 1])
