"""What each site adds is taken out of latents, and nothing else: by formula, by recovery, and by what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from med3d_export.evaluation.held_out import corrected_for_sites, site_correction
from med3d_export.evaluation.probes import predicted_sites, site_accuracy
from med3d_export.evaluation.uncertainty import Interval, PairedComparison
from med3d_export.harmonisation import SiteCorrection
from med3d_export.phantom.site_trial import SiteScore, write_site_scores
from med3d_export.subjects.labels import MEASURED_LABELS, Labels
from rig.science.tiny_fits import recipe

DIMENSION = 16
SHIFT = np.linspace(-2, 2, DIMENSION)


def cohort(count=90, seed=1, older_at_b=0.0):
    """Latents that age along their first axis; B adds SHIFT to them, and its people may be older."""
    chance = np.random.default_rng(seed)
    sites = np.array(["A", "B", "C"])[np.arange(count) % 3]
    ages = chance.uniform(20, 80, count) + older_at_b * (sites == "B")
    latents = chance.standard_normal((count, DIMENSION))
    latents[:, 0] += ages / 5
    latents[sites == "B"] += SHIFT
    people = np.array([f"s{number}" for number in range(count)])
    labels = Labels(people, ages, np.array(["F", "M"])[np.arange(count) // 3 % 2], sites, ages, MEASURED_LABELS, None)
    return latents.astype(np.float32), labels


def mean_difference(latents, labels):
    return latents[labels.sites == "B"].mean(axis=0) - latents[labels.sites == "A"].mean(axis=0)


def test_the_site_can_no_longer_be_read_out_and_the_age_can():
    latents, labels = cohort(180)
    own, other = np.arange(90), np.arange(90, 180)

    def seen(values):
        found = predicted_sites(values.astype(float), labels.sites, labels.subjects, own, other, 3, 1)
        return site_accuracy(found, labels.sites[other])[0]

    corrected = corrected_for_sites(latents, labels, own)
    assert seen(latents) > 0.6
    assert seen(corrected) < 0.45  # a guess gets 0.33
    assert np.corrcoef(corrected[other, 0], labels.ages_years[other])[0, 1] > 0.9


def test_a_site_whose_people_are_older_keeps_what_age_makes_of_them():
    latents, labels = cohort(600, older_at_b=15.0)
    corrected = corrected_for_sites(latents, labels, np.arange(600))
    assert mean_difference(corrected, labels)[0] == pytest.approx(15 / 5, abs=0.6), "the difference that age explains"
    assert np.abs(mean_difference(corrected, labels)[1:]).max() < 0.3


def test_only_training_subjects_have_a_say():
    latents, labels = cohort()
    own = np.arange(60)
    spoilt = latents.copy()
    spoilt[60:] += 100.0
    before, after = (corrected_for_sites(values, labels, own) for values in (latents, spoilt))
    np.testing.assert_array_equal(before[:60], after[:60])
    np.testing.assert_allclose(after[60:] - before[60:], 100.0, rtol=1e-4)


def test_an_unknown_site_is_left_as_it_is():
    latents, labels = cohort()
    correction = site_correction(latents, labels, np.arange(90))
    np.testing.assert_array_equal(correction.transform(latents[:2], np.array(["Z", "B"]))[0], latents[0])
    assert [correction.shifts_.correction(site) for site in ("B", "Z", None)] == [
        "applied", "unknown_site", "unknown_site",
    ]  # fmt: skip


def test_the_posterior_mean_is_that_of_johnson_and_others():
    latents, labels = cohort(30)
    found = site_correction(latents, labels, np.arange(30)).shifts_.shifts
    age, female = labels.ages_years - labels.ages_years.mean(), (labels.sexes == "F").astype(float)
    design = np.column_stack([*(labels.sites == site for site in "ABC"), age, female - female.mean()]).astype(float)
    fitted, *_ = np.linalg.lstsq(design, latents.astype(float), rcond=None)
    spread = np.sqrt(((latents - design @ fitted) ** 2).mean(axis=0))
    standardised = (latents - fitted[:3].mean(axis=0) - design[:, 3:] @ fitted[3:]) / spread
    for number, site in enumerate("ABC"):
        own = standardised[labels.sites == site]
        gamma, delta2 = own.mean(axis=0), own.var(axis=0, ddof=1)
        tau2 = gamma.var(ddof=1)
        posterior = (len(own) * tau2 * gamma + delta2 * gamma.mean()) / (len(own) * tau2 + delta2)
        np.testing.assert_allclose(found[number], posterior * spread, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_told_apart_is_refused_by_name():
    latents, labels = cohort()
    few = replace(labels, sites=np.where(np.arange(90) < 3, "D", labels.sites))
    with pytest.raises(ValueError, match=r"too few: D \(3\)"):
        site_correction(latents, few, np.arange(90))
    by_sex = replace(labels, sites=np.where(labels.sexes == "F", "A", "B"))
    with pytest.raises(ValueError, match="age or sex already says"):
        site_correction(latents, by_sex, np.arange(90))


def test_it_is_off_unless_a_recipe_asks_for_it():
    assert recipe().evaluation.harmonisation == "none"
    assert recipe(evaluation={"harmonisation": "combat"}).evaluation.harmonisation == "combat"
    clone(SiteCorrection())  # it is an estimator like any other


def test_the_verdict_goes_by_the_interval_of_the_paired_difference(tmp_path):
    def said(low, high):
        paired = PairedComparison(90, Interval((low + high) / 2, low, high), 0.01, 0.01, 0.5)
        score = SiteScore("one site left out", "combat", None, Interval(11.0, 9.0, 12.0), -8.0, paired)
        return write_site_scores((score,), tmp_path).splitlines()[-1]

    assert "makes the age worse** (+3.00 years" in said(2.0, 4.0)
    assert "makes the age better" in said(-4.0, -2.0)
    assert "no worse that can be shown" in said(-1.0, 0.5)
