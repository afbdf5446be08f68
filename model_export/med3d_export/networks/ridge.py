"""Ridge regression in the singular directions of what it regresses on, with leave-one-out estimates."""

from dataclasses import dataclass

from torch import Tensor

_PENALTIES = tuple(2.0**power for power in range(-10, 12))
"""In units of the mean squared singular value."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Of labels (N, T), centred, on components ``left * singular`` (N, K), which are centred, too.

    weights: (K, T). seen: estimates (N, T) for the training rows; unseen: those that the other rows alone would give.
    """

    weights: Tensor
    seen: Tensor
    unseen: Tensor


def ridge_at(left: Tensor, singular: Tensor, labels: Tensor, penalty: float) -> Ridge:
    """left: (N, K) orthonormal columns; singular: (K,), all above 0; penalty: on the squared weights."""
    share = singular.square() / (singular.square() + penalty)
    along = share[:, None] * (left.T @ labels)
    seen = left @ along
    # The residual over 1 - leverage (Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 7.10); the
    # constant's leverage is 1 / N.
    leverage = left.square() @ share + 1.0 / len(left)
    unseen = labels - (labels - seen) / (1.0 - leverage)[:, None].clamp_min(1e-6)
    return Ridge(along / singular[:, None], seen, unseen)


def fit_ridge(left: Tensor, singular: Tensor, labels: Tensor) -> Ridge:
    """Fit under the one penalty for all labels that makes the squared error of ``unseen`` lowest."""
    unit = float(singular.square().mean())
    made = (ridge_at(left, singular, labels, penalty * unit) for penalty in _PENALTIES)
    return min(made, key=lambda ridge: float((labels - ridge.unseen).square().sum()))
