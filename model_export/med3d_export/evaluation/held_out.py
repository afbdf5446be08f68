"""From the evidence of all fits to what subjects got from models that had not seen them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.age_heads import TrainingHeads, fit_age_head, fit_head
from med3d_export.evaluation.image_quality import ImageQuality
from med3d_export.evaluation.novelty import neighbour_distance
from med3d_export.evaluation.probes import predicted_sites, woman_scores
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.fold_evidence import FoldEvidence
from med3d_export.harmonisation import SiteCorrection
from med3d_export.heads import HeadSearch
from med3d_export.latent_maps import shrunk_covariance
from med3d_export.subjects.folds import Fold, Indices
from med3d_export.subjects.labels import Labels
from med3d_export.varied_heads import Copies

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """R repeats of the cross-validation, N subjects; arrays are (R, N) and NaN where a repeat did not test the subject.

    chosen: the evidence that the inner search kept, by repeat and fold. folds: by repeat, those that were tested.
    age, start_age: estimates in years by the trained encoder and by the one before its first step. varied_age_error:
    years, the mean absolute error over varied copies of the head. sdmt: points. woman:
    log odds. site: (R, N) texts, empty where not tested or where there is one site only. distance, neighbours,
    residual: how unlike the training subjects a head is, see ``novelty``. relative_error: of the reconstruction.
    """

    chosen: tuple[tuple[FoldEvidence, ...], ...]
    folds: tuple[tuple[Fold, ...], ...]
    age: Floats
    start_age: Floats
    varied_age_error: Floats
    sdmt: Floats
    woman: Floats
    site: npt.NDArray[np.str_]
    distance: Floats
    neighbours: Floats
    residual: Floats
    relative_error: Floats
    quality: ImageQuality
    mean_head: ImageQuality

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """(N,) subjects that some repeat tested."""
        return np.asarray(np.isfinite(self.age).any(axis=0))

    @property
    def is_complete(self) -> bool:
        """Every repeat tested everybody."""
        return bool(np.isfinite(self.age).all())


def held_out(evidence: list[FoldEvidence], labels: Labels, settings: EvaluationConfig) -> HeldOut:
    """Fit heads and probes to each fold's training latents and ask them about its test subjects.

    Of several candidates the one with the lowest inner error of the age head is kept, fold by fold: the test subjects
    have no say. Raises ValueError where there is no evidence.
    """
    if not evidence:
        raise ValueError("there is no evidence to score")
    seeds = sorted({one.seed for one in evidence})
    rows = _Rows(len(seeds), len(labels))
    chosen = []
    for repeat, seed in enumerate(seeds):
        of_seed = [_without_sites(one, labels, settings) for one in evidence if one.seed == seed]
        kept = []
        for fold in sorted({one.fold for one in of_seed}):
            searched = [(one, age_head(one, labels, settings)) for one in of_seed if one.fold == fold]
            best, search = min(searched, key=lambda pair: pair[1].inner_error)
            rows.fill(repeat, best, search, labels, settings)
            kept.append(best)
        chosen.append(tuple(kept))
    folds = tuple(tuple(Fold(one.training, one.test) for one in of_repeat) for of_repeat in chosen)
    return HeldOut(tuple(chosen), folds, **rows.arrays)


def _without_sites(one: FoldEvidence, labels: Labels, settings: EvaluationConfig) -> FoldEvidence:
    """Return the same with latents that are corrected for sites, by what the fold's training subjects say of these."""
    if settings.harmonisation == "none":
        return one
    own, test = labels.sites[one.training], labels.sites[one.test]
    correction = site_correction(one.latents, labels, one.training)
    of_start = site_correction(one.start_latents, labels, one.training)
    return replace(
        one,
        latents=correction.transform(one.latents, labels.sites),
        start_latents=of_start.transform(one.start_latents, labels.sites),
        copies=_each(one.copies, lambda latents: correction.transform(latents, own)),
        start_copies=_each(one.start_copies, lambda latents: of_start.transform(latents, own)),
        test_copies=_each(one.test_copies, lambda latents: correction.transform(latents, test)),
    )


def _each(copies: Copies, transform: Callable[[Copies], Copies]) -> Copies:
    """Return ``transform`` of every copy's latents (N, d)."""
    return np.stack([transform(latents) for latents in copies]) if len(copies) else copies


def corrected_for_sites(latents: npt.NDArray[np.float32], labels: Labels, own: Indices) -> npt.NDArray[np.float32]:
    """Return latents (N, d) of everyone without the sites' shifts, which are estimated from the rows ``own``."""
    return site_correction(latents, labels, own).transform(latents, labels.sites)


def site_correction(latents: npt.NDArray[np.float32], labels: Labels, own: Indices) -> SiteCorrection:
    """Return what each site adds to latents (N, d), by the rows ``own``. Raises ValueError, see SiteCorrection."""
    return SiteCorrection().fit(latents[own], labels.sites[own], labels.ages_years[own], labels.sexes[own])


def age_head(one: FoldEvidence, labels: Labels, settings: EvaluationConfig) -> HeadSearch:
    """Return the head that learns the ages of the fold's training subjects."""
    fit = fit_age_head if one.has_age_code else fit_head
    return fit(_training_heads(one, labels.ages_years, labels), settings, one.seed)


def _training_heads(one: FoldEvidence, values: Floats, labels: Labels) -> TrainingHeads:
    """Return the fold's training subjects whose ``values`` (N,) are known (not NaN)."""
    known = np.isfinite(values[one.training])
    own = one.training[known]
    return TrainingHeads(
        one.latents[own], one.copies[:, known], values[own], labels.subjects[own], one.code_spreads
    )  # fmt: skip


class _Rows:
    """The arrays of HeldOut while they fill."""

    def __init__(self, repeats: int, subjects: int) -> None:
        shape = (repeats, subjects)
        plain = (
            "age",
            "start_age",
            "varied_age_error",
            "sdmt",
            "woman",
            "distance",
            "neighbours",
            "residual",
            "relative_error",
        )
        self.arrays: dict[str, Any] = {name: np.full(shape, np.nan) for name in plain}
        self.arrays["site"] = np.full(shape, "", dtype="U64")
        for name in ("quality", "mean_head"):
            self.arrays[name] = ImageQuality(*(np.full(shape, np.nan) for _ in fields(ImageQuality)))

    def fill(
        self, repeat: int, one: FoldEvidence, search: HeadSearch, labels: Labels, settings: EvaluationConfig
    ) -> None:
        own, other, seed, groups = one.training, one.test, one.seed, labels.subjects
        inner = settings.inner_folds
        latents = one.latents.astype(np.float64)
        self._set("age", repeat, other, search.head.predict(one.latents[other]))
        before = replace(one, latents=one.start_latents, copies=one.start_copies)
        start = age_head(before, labels, settings).head
        self._set("start_age", repeat, other, start.predict(one.start_latents[other]))
        varied = [np.abs(search.head.predict(copy) - labels.ages_years[other]) for copy in one.test_copies]
        self._set("varied_age_error", repeat, other, np.mean(varied, axis=0))
        self._sdmt(repeat, one, labels, settings)
        if len(np.unique(labels.sexes)) > 1:
            self._set("woman", repeat, other, woman_scores(latents, labels.sexes, groups, own, other, inner, seed))
        if len(np.unique(labels.sites[own])) > 1:
            self._set("site", repeat, other, predicted_sites(latents, labels.sites, groups, own, other, inner, seed))
        self._set("distance", repeat, other, shrunk_covariance(latents[own]).distance(latents[other]))
        self._set("neighbours", repeat, other, neighbour_distance(latents[own], latents[other]))
        self._set("residual", repeat, other, one.residuals)
        self._set("relative_error", repeat, other, one.relative_errors)
        for name, quality in (("quality", one.quality), ("mean_head", one.mean_head)):
            for field in fields(ImageQuality):
                getattr(self.arrays[name], field.name)[repeat, other] = getattr(quality, field.name)

    def _sdmt(self, repeat: int, one: FoldEvidence, labels: Labels, settings: EvaluationConfig) -> None:
        known = labels.with_sdmt
        own, other = one.training[known[one.training]], one.test[known[one.test]]
        if len(own) >= 2 * settings.inner_folds and len(other):
            head = fit_head(_training_heads(one, labels.sdmt, labels), settings, one.seed).head
            self._set("sdmt", repeat, other, head.predict(one.latents[other]))

    def _set(self, name: str, repeat: int, rows: npt.NDArray[np.int64], values: npt.NDArray[np.generic]) -> None:
        self.arrays[name][repeat, rows] = values
