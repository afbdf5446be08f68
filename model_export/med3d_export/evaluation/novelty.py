"""How unlike the training subjects a head is: neighbours in the latent, and what the decoder cannot show of it.

The third score, the Mahalanobis distance under a shrunk covariance, is ``latent_maps.shrunk_covariance``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

Floats = npt.NDArray[np.float64]
NEIGHBOURS = 5


def neighbour_distance(training: Floats, latents: Floats, neighbours: int = NEIGHBOURS) -> Floats:
    """Return mean Euclidean distance (M,) of latents (M, d) from their nearest of the training latents (N, d).

    Every dimension is divided by its spread over the training subjects first.
    """
    spread = training.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    search = NearestNeighbors(n_neighbors=min(neighbours, len(training))).fit(training / scale)
    distances, _ = search.kneighbors(latents / scale)
    return np.asarray(distances.mean(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Threshold:
    """A limit that ``false_refusal_rate`` of good heads exceeds, from distances of subjects the model had not seen."""

    value: float
    false_refusal_rate: float


def threshold_at(held_out_scores: Floats, false_refusal_rate: float) -> Threshold:
    """Return the conformal limit: the ceil((n + 1)(1 - rate))-th smallest held-out score (N,), or the largest."""
    ordered = np.sort(held_out_scores)
    rank = min(int(np.ceil((len(ordered) + 1) * (1.0 - false_refusal_rate))), len(ordered))
    return Threshold(float(ordered[rank - 1]), false_refusal_rate)


def separation(good: Floats, shifted: Floats) -> float:
    """Return area under the ROC curve: the chance that a shifted head scores higher than a good one."""
    return float(roc_auc_score(np.r_[np.zeros(len(good)), np.ones(len(shifted))], np.r_[good, shifted]))
