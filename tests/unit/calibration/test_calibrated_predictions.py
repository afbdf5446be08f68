"""Answers of a predictor that knows a site's calibration."""

from datetime import timedelta

import numpy as np
import pytest

from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.inference.site_shifts import SiteShifts
from rig.science.calibrations import CREATED, PRISMA, calibration, of_scanners, site_heads
from rig.science.predictions import Scanner, latent_space, predictor, tensors

SILENT = Scanner(None, None, None)
OF_THE_SITE = [3.0, 0.1, 0, 0]
"""A head where the site's lie; the bundle makes 80 years of it."""
TODAY = CREATED + timedelta(days=90)


def site(heads=None, today=TODAY, **options):
    return CalibratedSite(calibration(heads or site_heads(40, offset=40), **options), latent_space(), lambda: today)


def answer(calibrated=None, *, latent=OF_THE_SITE, age=None, stated=None, scanner=PRISMA, **parts):
    subject = SubjectAttributes(age_years=age, scan_site=stated)
    sites = [site()] if calibrated is None else calibrated
    (found,) = predictor(**parts).calibrated(sites).predict(tensors(latent), [subject], [scanner])
    return found


def codes(found):
    return [reason.code for reason in found.reasons]


def test_a_head_of_the_calibrated_scanner_is_answered_by_the_site_s_numbers():
    found = answer(age=41.0)
    assert found.calibrated_for == "Ward 3"
    assert (found.decision, found.reasons) == ("accepted", ())
    assert found.brain_age.estimate == pytest.approx(40.0, abs=0.01)
    assert found.brain_age.interval.upper - found.brain_age.interval.lower < 0.1
    assert found.gap.estimate == pytest.approx(-1.0, abs=0.01)
    assert found.gap_corrected.estimate == pytest.approx(-1.0, abs=0.05)


def test_without_a_calibration_the_same_head_is_for_a_person_to_look_at():
    found = answer([])
    assert found.calibrated_for is None
    assert found.brain_age.estimate == pytest.approx(80.0)
    assert codes(found) == ["vendor_outside_calibration"]


def test_a_head_unlike_the_site_s_is_told_in_the_site_s_name():
    found = answer(latent=[-3.0, 0, 0, 0])
    assert "far_from_training" in codes(found)
    assert found.reasons[-1].sentence == ("The head lies farther from Ward 3 than 95 % of the healthy heads of Ward 3.")


def test_the_calibration_s_ages_are_the_site_s():
    assert codes(answer(age=70.0)) == ["age_outside_calibration"]


def test_headers_that_tell_nothing_get_it_only_where_the_site_is_stated():
    assert answer(scanner=SILENT).calibrated_for is None
    assert answer(scanner=SILENT, stated="Ward 3").calibrated_for == "Ward 3"
    assert answer(scanner=SILENT, stated="Ward 4").calibrated_for is None


def test_another_scanner_never_gets_it_and_is_told_where_it_was_asked_for():
    other = Scanner(3.0, "GE", "Signa")
    assert (answer(scanner=other).calibrated_for, answer(scanner=other).reasons[0].code) == (
        None,
        "vendor_outside_calibration",
    )
    asked = answer(scanner=other, stated="Ward 3")
    assert asked.calibrated_for is None
    assert codes(asked)[0] == "calibration_other_scanner"
    assert "Siemens Prisma, 3 T" in asked.reasons[0].sentence


def test_the_same_model_of_scanner_at_a_site_of_another_name_does_not_get_it():
    assert answer(stated="Elsewhere").calibrated_for is None


def test_a_calibration_of_heads_without_headers_is_for_the_stated_site_alone():
    silent = site(of_scanners(site_heads(40, offset=40), SILENT))
    assert answer([silent]).calibrated_for is None
    assert answer([silent], stated="Ward 3").calibrated_for == "Ward 3"


def test_case_and_spaces_make_no_other_site_for_whoever_asks():
    assert answer(stated="ward  3 ").calibrated_for == "Ward 3"


def test_an_expired_calibration_is_not_applied_and_says_so():
    found = answer([site(today=CREATED + timedelta(days=366))])
    assert (found.calibrated_for, codes(found)[0]) == (None, "calibration_expired")
    assert answer([site(today=CREATED + timedelta(days=365))]).calibrated_for == "Ward 3"


def test_the_first_of_several_that_fits_is_taken():
    other = CalibratedSite(calibration(site="Ward 9"), latent_space(), lambda: TODAY)
    assert answer([other, site()], stated="Ward 3").calibrated_for == "Ward 3"


def test_what_the_bundle_refuses_no_calibration_lets_through():
    found = answer([site(site_heads(40, shift=(60.0, 0, 0, 0)))], latent=[60.0, 0, 0, 0])
    assert isinstance(found, InputRefused)
    assert found.code == "out_of_distribution"


def test_a_calibrated_head_keeps_its_site_s_share_of_the_latent_as_when_it_was_calibrated():
    shifts = SiteShifts(np.array(["Ward 3"]), np.array([[1.0, 0, 0, 0]], np.float32))
    found = answer(stated="Ward 3", site_shifts=shifts)
    assert (found.calibrated_for, found.site_correction, found.reasons) == ("Ward 3", None, ())
    assert found.brain_age.estimate == pytest.approx(40.0, abs=0.01)


def test_looking_gives_what_the_networks_say_before_anything_is_held_against_it():
    (found,) = predictor(decode=lambda z: z.reshape(len(z), 1, 2, 2, 1) + 0.5).look(tensors(OF_THE_SITE))
    assert found.estimate_years == pytest.approx(80.0)
    assert found.reconstruction_error == pytest.approx(0.5)
    assert predictor().look(tensors(OF_THE_SITE))[0].reconstruction_error is None


def test_a_calibration_for_latents_of_another_size_is_a_programming_error():
    with pytest.raises(ValueError, match="dimension"):
        CalibratedSite(calibration().model_copy(update={"latent_shift": (1.0,)}), latent_space())


def test_a_calibration_that_comes_with_the_head_goes_before_the_predictor_s_own():
    own = CalibratedSite(calibration(site="Ward 9"), latent_space(), lambda: TODAY)
    subject = SubjectAttributes()
    found = (
        predictor()
        .calibrated([site()])
        .predict(tensors(OF_THE_SITE, OF_THE_SITE), [subject] * 2, [PRISMA] * 2, None, [(own,), ()])
    )
    assert [one.calibrated_for for one in found] == ["Ward 9", "Ward 3"]
