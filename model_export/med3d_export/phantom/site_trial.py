"""What a correction for sites does to latents of the phantom cohort: to the site in them, and to the age."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_export.evaluation.held_out import corrected_for_sites
from med3d_export.evaluation.probes import predicted_sites, site_accuracy
from med3d_export.evaluation.uncertainty import Interval, PairedComparison, bootstrap_interval, compare_paired
from med3d_export.heads import LabelledLatents, search_head
from med3d_export.phantom.cohort import phantom_cohort
from med3d_export.phantom.factors import PhantomDesign, PhantomSite
from med3d_export.phantom.trial import OnEpoch, PhantomTrial
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.folds import Fold, leave_one_site_out
from med3d_export.subjects.labels import MEASURED_LABELS, Labels
from med3d_export.subjects.supervision import Supervision
from med3d_export.training import fit_autoencoder

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]
THREE_SITES = PhantomDesign(sites=(PhantomSite("A", 0.0), PhantomSite("B", 0.2), PhantomSite("C", -0.2)))
SEEN, LEFT_OUT = "sites that were trained on", "one site left out at a time"


@dataclass(frozen=True)
class SiteScore:
    """Latents with (combat) or without (none) the correction, of people whom neither encoder nor head had seen.

    site: balanced accuracy of reading the site out of the latent, None where the tested site was not trained on.
    age_error: mean absolute, years. worst_bias: of the site whose mean error is farthest from 0, years. versus_none:
    absolute errors minus those without, by subject.
    """

    tested_on: str
    correction: str
    site: float | None
    age_error: Interval
    worst_bias: float
    versus_none: PairedComparison | None


@dataclass(frozen=True, eq=False)
class _Found:
    """Out-of-fold ages and sites (N,), the latter empty where the site was not trained on."""

    ages: Floats
    sites: Texts


def site_scores(trial: PhantomTrial, on_epoch: OnEpoch = lambda _name, _report: None) -> tuple[SiteScore, ...]:
    """Fit the recipe's objective in the folds of ``trial`` and with one site left out, and score with and without."""
    cohort = phantom_cohort(trial.factors, Path())
    labels = _labels(cohort)
    scores: list[SiteScore] = []
    for tested_on, folds in ((SEEN, trial.folds), (LEFT_OUT, leave_one_site_out(cohort).folds)):
        latents = [_latents(trial, cohort, fold, on_epoch) for fold in folds]
        found = {
            correction: _estimates(trial, labels, folds, latents, corrected=correction == "combat")
            for correction in ("none", "combat")
        }
        scores += [_score(tested_on, name, found, labels, trial.config.seed) for name in found]
    return tuple(scores)


def write_site_scores(scores: tuple[SiteScore, ...], folder: Path) -> str:
    """Write harmonisation.json and harmonisation.md in ``folder``; the latter's text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _table(scores)
    (folder / "harmonisation.json").write_text(json.dumps([asdict(s) for s in scores], indent=1) + "\n", "utf-8")
    (folder / "harmonisation.md").write_text(text, "utf-8")
    return text


def _labels(cohort: Cohort) -> Labels:
    return Labels(
        cohort.participant_ids, cohort.ages_years, cohort.sexes, cohort.sites, cohort.sdmt, MEASURED_LABELS, None
    )


def _latents(trial: PhantomTrial, cohort: Cohort, fold: Fold, on_epoch: OnEpoch) -> npt.NDArray[np.float32]:
    config = trial.config
    targets = Supervision.of(cohort, config.supervision).targets(fold.training)
    own = trial.tensors[fold.training]
    fitted = fit_autoencoder(own, targets, config, config.seed, lambda report: on_epoch(fold.name, report))
    return fitted.encode(trial.tensors)


def _estimates(
    trial: PhantomTrial, labels: Labels, folds: tuple[Fold, ...], latents: list[npt.NDArray[np.float32]], *,
    corrected: bool,
) -> _Found:  # fmt: skip
    inner, seed = trial.config.evaluation.inner_folds, trial.config.seed
    found = _Found(np.full(len(labels), np.nan), np.full(len(labels), "", dtype="U64"))
    for fold, plain in zip(folds, latents, strict=True):
        own, other = fold.training, fold.test
        seen = corrected_for_sites(plain, labels, own) if corrected else plain
        head = search_head(LabelledLatents(seen[own], labels.ages_years[own], labels.subjects[own]), inner, seed).head
        found.ages[other] = head.predict(seen[other])
        if set(labels.sites[other]) <= set(labels.sites[own]):
            wide = seen.astype(np.float64)
            found.sites[other] = predicted_sites(wide, labels.sites, labels.subjects, own, other, inner, seed)
    return found


def _score(tested_on: str, name: str, found: dict[str, _Found], labels: Labels, seed: int) -> SiteScore:
    errors = {key: np.abs(one.ages - labels.ages_years) for key, one in found.items()}
    gaps = found[name].ages - labels.ages_years
    biases = [float(gaps[labels.sites == site].mean()) for site in np.unique(labels.sites)]
    told = bool((found[name].sites != "").all())
    return SiteScore(
        tested_on=tested_on,
        correction=name,
        site=site_accuracy(found[name].sites, labels.sites)[0] if told else None,
        age_error=bootstrap_interval(lambda e: float(np.mean(e)), (errors[name],), seed),
        worst_bias=max(biases, key=abs),
        versus_none=None if name == "none" else compare_paired(errors[name], errors["none"], seed),
    )


def _table(scores: tuple[SiteScore, ...]) -> str:
    lines = [
        "# Taking the site out of the phantoms' latents",
        "",
        "Three sites that bend the contrast by a log gamma of 0, 0.2 and -0.2. Out of fold: encoder, correction and",
        "head know the training subjects alone. The site is read out of the latent by logistic regression (balanced",
        "accuracy; a guess gets 0.33). A site that was left out is unknown to the correction, and its latents stay as",
        "they are.",
        "",
        "| tested on | correction | site from latent | age, absolute error (years) | difference | worst site's bias |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for score in scores:
        site = "" if score.site is None else f"{score.site:.2f}"
        paired = "" if score.versus_none is None else str(score.versus_none.difference)
        cells = (score.tested_on, score.correction, site, str(score.age_error), paired, f"{score.worst_bias:+.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *map(_verdict, [score for score in scores if score.versus_none])]) + "\n"


def _verdict(score: SiteScore) -> str:
    """Return what the correction does to the age, in words, by the interval of the paired difference."""
    assert score.versus_none is not None
    difference = score.versus_none.difference
    words = "makes the age worse" if difference.lower > 0 else "leaves the age no worse that can be shown"
    if difference.upper < 0:
        words = "makes the age better"
    return f"- {score.tested_on}: the correction **{words}** ({difference.value:+.2f} years of absolute error)"
