"""StandardScaler and support vector regression on latents, the kernel chosen by inner cross-validation."""

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

Latents = npt.NDArray[np.float32]
Labels = npt.NDArray[np.float64]

# Per label: half widths of the tube and costs in the label's own unit, so that years and points are searched alike.
_COSTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def search_space(dimension: int) -> list[dict[str, list[object]]]:
    """Linear and RBF; gamma in multiples of 1 / d, the scale of squared distances of standardised latents."""
    gammas = [factor / dimension for factor in (0.03, 0.1, 0.3, 1.0)]
    return [
        {"svr__kernel": ["linear"], "svr__C": [cost / 10 for cost in _COSTS]},
        {"svr__kernel": ["rbf"], "svr__C": [cost * 100 for cost in _COSTS[2:]], "svr__gamma": list(gammas)},
    ]


def fit_head(latents: Latents, labels: Labels, inner_folds: int, seed: int) -> Pipeline:
    """The head with the lowest mean absolute error over the inner folds, fitted to all of ``latents`` (N, d).

    The tube's half width is a tenth of the labels' standard deviation.
    """
    tube = 0.1 * float(labels.std())
    pipeline = Pipeline([("scaler", StandardScaler()), ("svr", SVR(epsilon=tube, cache_size=100))])
    search = GridSearchCV(
        pipeline,
        search_space(latents.shape[1]),
        scoring="neg_mean_absolute_error",
        cv=KFold(inner_folds, shuffle=True, random_state=seed),
    )
    search.fit(latents, labels)
    best: Pipeline = search.best_estimator_
    return best
