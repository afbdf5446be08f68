from med3d_pipeline.calibration.fitting import fit_site
from med3d_pipeline.calibration.outlook import outlook
from rig.science.calibrations import CREATED, bearings, site_heads


def fitted(**how):
    return fit_site(site_heads(30, **how), "Ward 3", bearings(), CREATED)


def test_more_heads_give_no_greater_error_and_steadier_ones():
    found = outlook(fitted(noise=6.0, slope=0.8), 0.9)
    assert [one.heads for one in found] == [20, 50, 100]
    errors = [one.mean_error_years for one in found]
    assert errors == sorted(errors, reverse=True)
    assert found[0].error_high_years - found[0].error_low_years > found[2].error_high_years - found[2].error_low_years


def test_the_expected_error_is_the_one_that_new_heads_have():
    site = fitted(noise=6.0, slope=0.8)
    found = outlook(site, 0.9)[1]
    own = site.calibration.figures.mean_error_after_years
    assert abs(found.mean_error_years - own) < 1.0
    assert found.half_width_years > found.mean_error_years


def test_the_same_heads_give_the_same_page_twice():
    site = fitted(noise=6.0)
    assert outlook(site, 0.9) == outlook(site, 0.9)


def test_without_noise_nothing_is_left_to_expect():
    assert all(one.mean_error_years < 0.1 for one in outlook(fitted(), 0.9))
