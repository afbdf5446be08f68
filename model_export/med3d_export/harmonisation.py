"""Taking the site out of latents: ComBat's empirical Bayes estimate of what each site adds, of the location alone.

Johnson, Li, Rabinovic, Biostatistics 2007;8:118-127; for brain images Fortin et al., NeuroImage 2018;167:104-120.
"""

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from med3d_pipeline.inference.site_shifts import SiteShifts

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]
FEWEST = 5
"""Subjects of a site below which nothing is said of it."""


class SiteCorrection(TransformerMixin, BaseEstimator):
    """Estimates each site's shift beside age and sex, and takes out the site's alone.

    ComBat also rescales what remains around the expectation for a subject's age and sex. That needs the age of whom the
    brain age is asked for, so the scale is left as it is: a correction that has seen the label would leak it.

    shifts_: SiteShifts, after ``fit``.
    """

    def fit(self, latents: npt.NDArray[np.floating], sites: Texts, ages_years: Floats, sexes: Texts) -> Self:
        """Estimate shifts from latents (N, d), sites, ages and sexes (N,).

        Raises ValueError where a site has fewer than five scans, or sites cannot be told from age and sex.
        """
        names, place, counts = np.unique(sites, return_inverse=True, return_counts=True)
        few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < FEWEST]
        if few:
            raise ValueError(f"sites need {FEWEST} scans each to be corrected for; too few: {', '.join(few)}")
        people = _covariates(ages_years, sexes)
        design = np.hstack([np.eye(len(names))[place], people])
        if np.linalg.matrix_rank(design) < design.shape[1]:
            raise ValueError("sites cannot be corrected for where age or sex already says which site a scan is from")
        values = np.asarray(latents, np.float64)
        fitted = np.linalg.lstsq(design, values, rcond=None)[0]
        spread = np.sqrt(np.square(values - design @ fitted).mean(axis=0))
        spread = np.where(spread > 0, spread, 1.0)
        everyone = counts / counts.sum() @ fitted[: len(names)]
        standardised = (values - everyone - people @ fitted[len(names) :]) / spread
        shifts = np.stack([_shrunk_mean(standardised[place == site]) for site in range(len(names))]) * spread
        self.shifts_ = SiteShifts(names, shifts.astype(np.float32))
        return self

    def transform(self, latents: npt.NDArray[np.floating], sites: Texts) -> npt.NDArray[np.float32]:
        """Return latents (N, d) without the shifts of their sites; those of unknown ones as they are."""
        return self.shifts_.corrected(np.asarray(latents, np.float32), [str(site) for site in sites])


def _covariates(ages_years: Floats, sexes: Texts) -> Floats:
    """Return (N, k) age and, where there are both, sex.

    Centred, so that a site's coefficient is its average person's.
    """
    columns = [ages_years - ages_years.mean()]
    if len(np.unique(sexes)) > 1:
        female = (sexes == "F").astype(np.float64)
        columns.append(female - female.mean())
    return np.stack(columns, axis=1)


def _shrunk_mean(values: Floats) -> Floats:
    """Return the posterior mean (d,) of a site's shift in standardised values (n, d), drawn towards its mean over d.

    Johnson 2007, equation of gamma*: (n tau2 gamma + delta2 gamma_bar) / (n tau2 + delta2).
    """
    count, means, own = len(values), values.mean(axis=0), values.var(axis=0, ddof=1)
    between = means.var(ddof=1) if len(means) > 1 else 1.0
    weight = count * between + own
    drawn = (count * between * means + own * means.mean()) / np.where(weight > 0, weight, 1.0)
    return np.asarray(np.where(weight > 0, drawn, means))
