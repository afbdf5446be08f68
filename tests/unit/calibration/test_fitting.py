import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_pipeline.calibration.fitting import fit_site, left_out_distances
from med3d_pipeline.calibration.refusals import CalibrationCode, CalibrationRefused
from med3d_pipeline.calibration.site_calibration import CalibratedSite, SiteCalibration
from rig.science.calibrations import CREATED, PRISMA, bearings, calibration, of_scanners, site_heads
from rig.science.predictions import LIMITS, Scanner, latent_space


def refused(heads, site="Ward 3", **options):
    with pytest.raises(CalibrationRefused) as found:
        fit_site(heads, site, bearings(), CREATED, **options)
    return found.value


@settings(max_examples=30)
@given(st.floats(-20, 20))
def test_a_site_s_offset_is_taken_out(offset):
    found = CalibratedSite(calibration(site_heads(offset=offset)), latent_space())
    assert found.age_years(40 + offset) == pytest.approx(40, abs=1e-3)
    assert found.half_width(0.9) == pytest.approx(0, abs=1e-3)


def test_estimates_that_follow_age_too_little_are_stretched():
    found = CalibratedSite(calibration(site_heads(offset=0, slope=0.5)), latent_space())
    assert [found.age_years(years) for years in (30.0, 40.0, 50.0)] == pytest.approx([20, 40, 60], abs=0.01)


def test_the_corrected_gap_of_the_site_s_healthy_heads_has_no_bias_with_age():
    found = CalibratedSite(calibration(site_heads(offset=4, slope=0.6)), latent_space())
    gaps = [found.corrected_gap(found.age_years(44 + 0.6 * (age - 40)) - age, age) for age in (20.0, 35.0, 60.0)]
    assert gaps == pytest.approx([0, 0, 0], abs=0.3)


def test_the_interval_covers_as_often_as_it_says():
    """400 sites of 20 heads, one more head each: inside as often as 90 % allow by chance (three standard deviations)."""
    inside = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        heads = site_heads(21, noise=6.0, slope=0.8, seed=seed)
        rng.shuffle(heads)
        found = CalibratedSite(calibration(heads[:20]), latent_space())
        new = heads[20]
        inside.append(abs(found.age_years(new.sighting.estimate_years) - new.age_years) <= found.half_width(0.9))
    assert np.mean(inside) == pytest.approx(0.9, abs=3 * np.sqrt(0.9 * 0.1 / 400))


def test_a_healthy_head_of_the_site_lies_where_its_own_do_and_another_does_not():
    found = CalibratedSite(calibration(site_heads(40, shift=(6.0, 0, 0, 0))), latent_space())
    own, training = np.array([[6.0, 0.2, 0, 0]], np.float32), np.zeros((1, 4), np.float32)
    assert found.percentile(float(found.distance(own)[0])) < 98
    assert found.percentile(float(found.distance(training)[0])) > 99.9


def test_each_head_s_distance_is_from_the_middle_of_the_others():
    latents = np.stack([head.sighting.latent for head in site_heads()])
    moved = latents.copy()
    moved[3] += 100
    space = latent_space()
    others = np.delete(latents, 3, axis=0).mean(axis=0)
    assert left_out_distances(moved, space)[3] == pytest.approx(float(space.distance(moved[3:4] - others)[0]), rel=1e-5)


def test_without_a_decoder_nothing_is_held_against_what_it_shows():
    heads = [replace(head, sighting=replace(head.sighting, reconstruction_error=None)) for head in site_heads()]
    found = calibration(heads)
    assert found.reconstruction is None
    assert CalibratedSite(found, latent_space()).reconstruction_percentile(99.0) == 0.0


def test_the_false_alarm_rate_is_the_bundle_s_and_is_stated():
    found = fit_site(site_heads(), "x", bearings(limits=LIMITS.model_copy(update={"review_percentile": 97.0})), CREATED)
    assert found.calibration.false_alarm_rate == pytest.approx(0.03)
    assert CalibratedSite(found.calibration, latent_space()).review_percentile == pytest.approx(97.0)


def test_too_few_heads_are_refused_with_their_number():
    found = refused(site_heads(19), left_out=4)
    assert found.code == CalibrationCode.TOO_FEW_HEADS
    assert "19 healthy heads" in found.reason
    assert "4 more could not be used" in found.reason


def test_ages_within_five_years_are_refused_and_within_fifteen_give_an_offset_alone():
    found = refused(site_heads(30, ages=(22, 27)))
    assert (found.code, found.details["from_years"]) == (CalibrationCode.AGES_TOO_NARROW, 22.5)
    narrow = calibration(site_heads(30, ages=(22, 34), slope=0.5))
    assert (narrow.with_slope, narrow.age.slope, narrow.gap_bias.slope) == (False, 0.0, 0.0)
    assert calibration(site_heads(30)).with_slope


def test_one_old_person_among_students_does_not_widen_the_ages():
    heads = site_heads(30, ages=(22, 26))
    heads[0] = replace(heads[0], age_years=80.0)
    assert refused(heads).code == CalibrationCode.AGES_TOO_NARROW


def test_ages_that_stand_beside_other_heads_are_refused():
    heads = site_heads(slope=-1.0)
    assert refused(heads).code == CalibrationCode.AGES_UNRELATED


def test_two_scanners_are_refused_by_name_and_silence_is_no_second_scanner():
    found = refused(of_scanners(site_heads(), PRISMA, Scanner(3.0, "SIEMENS", "Skyra")))
    assert found.code == CalibrationCode.SEVERAL_SCANNERS
    assert "Siemens Prisma, 3 T; SIEMENS Skyra, 3 T" in found.reason
    known = calibration(of_scanners(site_heads(), PRISMA, Scanner(None, None), Scanner(2.9, "SIEMENS", "Prisma")))
    assert (known.scanner.manufacturer, known.scanner.model) == ("Siemens", "Prisma")


@pytest.mark.parametrize("name", ["", " x", "a" * 65, "line\nbreak", "<b>", "x\n"])
def test_a_name_that_is_no_label_is_refused(name):
    assert refused(site_heads(), site=name).code == CalibrationCode.BAD_NAME


def test_the_file_holds_no_row_of_a_person():
    found = calibration(site_heads(25, noise=5.0), left_out=2)
    written = json.loads(found.to_json())
    assert SiteCalibration.model_validate(written) == found
    assert written["residuals_years"] == sorted(written["residuals_years"])
    assert (written["heads"], written["left_out"], written["expires"]) == (25, 2, str(CREATED + timedelta(days=365)))
    assert all(float(limit).is_integer() for limit in written["age_range_years"])


@pytest.mark.parametrize("offset", [-121, 121])
def test_a_correction_that_no_file_may_hold_is_refused_in_words(offset):
    assert refused(site_heads(offset=offset)).code == CalibrationCode.AGES_UNRELATED
    assert calibration(site_heads(offset=offset * 0.99)).age.offset == pytest.approx(-offset * 0.99, abs=0.01)
