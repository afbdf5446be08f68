"""From latents to years and points: regression heads, and how much of an age the networks beside the latent tell."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.heads import (
    Groups,
    HeadSearch,
    LabelledLatents,
    Latents,
    inner_splits,
    search_head,
    without_support_vectors,
)
from med3d_export.subjects.folds import Indices
from med3d_export.varied_heads import Copies

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingHeads:
    """What a regression learns from: latents (N, d), varied copies (C, N, d), values (N,), people (N,).

    spreads (d,): see heads.CodeScaler.
    """

    latents: Latents
    copies: Copies
    values: Floats
    people: Groups
    spreads: Floats

    def part(self, rows: Indices) -> Self:
        """Return the same of some heads."""
        return replace(
            self, latents=self.latents[rows], copies=self.copies[:, rows], values=self.values[rows],
            people=self.people[rows],
        )  # fmt: skip

    def without_age_code(self) -> Self:
        """Return the same without the last number of all latents."""
        return replace(
            self, latents=self.latents[:, :-1], copies=self.copies[..., :-1], spreads=self.spreads[:-1]
        )  # fmt: skip


def fit_head(heads: TrainingHeads, settings: EvaluationConfig, seed: int) -> HeadSearch:
    """Return the support vector regression on all numbers of the latents."""
    weight = settings.head_copy_weight
    learned = LabelledLatents.of(heads.latents, heads.copies, heads.values, heads.people, weight, heads.spreads)
    return search_head(learned, settings.inner_folds, seed, settings.head_space)


def fit_age_head(heads: TrainingHeads, settings: EvaluationConfig, seed: int) -> HeadSearch:
    """Return support vector regression of the latent and the age code, the latents' last number, in one linear head.

    The estimate is s times the networks' years and 1 - s times the regression's: one number, by least squares on the
    training heads, each as networks and a regression see it that had not learned from it (stacking; Breiman, Machine
    Learning 1996). A regression on latents and code together would trust the code too little: of a training head it
    hears one network, of a new head the mean of several. Raises ValueError where the kernel is not linear.
    """
    latents_alone, ages = heads.without_age_code(), heads.values
    by_latents = np.empty(len(ages))
    for training, tested in inner_splits(ages, heads.people, settings.inner_folds, seed):
        learned = fit_head(latents_alone.part(training), settings, seed)
        by_latents[tested] = learned.head.predict(latents_alone.latents[tested])
    by_networks = ages.mean() + ages.std() * heads.latents[:, -1].astype(np.float64)
    share = _share(by_networks, by_latents, ages)
    line = without_support_vectors(fit_head(latents_alone, settings, seed).head)
    mixed = share * by_networks + (1.0 - share) * by_latents
    return HeadSearch(_with_code(line, share, ages), float(np.abs(mixed - ages).mean()), share)


def _share(first: Floats, second: Floats, truth: Floats) -> float:
    """Return s from 0 to 1 with the least squared error of s first + (1 - s) second."""
    apart = first - second
    scale = float(apart @ apart)
    return float(np.clip(apart @ (truth - second) / scale, 0.0, 1.0)) if scale > 0.0 else 0.0


def _with_code(line: Pipeline, share: float, ages: Floats) -> Pipeline:
    """Return a head of one number more, in units of the ages' deviation from their mean."""
    scaler, regression = line.named_steps["scaler"], line.named_steps["line"]
    wider, mixed = StandardScaler(), LinearRegression()
    wider.mean_, wider.scale_ = np.append(scaler.mean_, 0.0), np.append(scaler.scale_, 1.0)
    wider.var_, wider.n_samples_seen_ = np.append(scaler.var_, 1.0), scaler.n_samples_seen_
    mixed.coef_ = np.append((1.0 - share) * regression.coef_, share * ages.std())
    mixed.intercept_ = (1.0 - share) * regression.intercept_ + share * ages.mean()
    wider.n_features_in_ = mixed.n_features_in_ = len(mixed.coef_)
    return Pipeline([("scaler", wider), ("line", mixed)])
