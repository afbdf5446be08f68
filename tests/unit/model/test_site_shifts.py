import numpy as np
import pytest

from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.inference.site_shifts import SiteShifts
from med3d_pipeline.reasons import Reason
from rig.science.predictions import Scanner, predictor, tensors

SHIFTS = SiteShifts(np.array(["A", "B"]), np.array([[0, 0, 0, 0], [0.5, 0.25, 0, 0]], np.float32))


def answers(*sites, shifts=SHIFTS):
    """Of the same head at each of ``sites``."""
    subjects = [SubjectAttributes(scan_site=site) for site in sites]
    heads = tensors(*([[0.5, 0, 0, 0]] * len(sites)))
    return predictor(site_shifts=shifts).predict(heads, subjects, [Scanner()] * len(sites))


def test_what_a_site_adds_is_taken_out_before_heads_maps_and_distance():
    at_a, at_b = answers("A", "B")
    assert (at_a.brain_age.estimate, at_b.brain_age.estimate) == (55.0, 50.0)
    assert (at_a.map.pca, at_b.map.pca) == ((0.5, 0.0), (0.0, -0.25))
    assert (at_a.distance, at_b.distance) == (0.5, 0.25)
    assert at_b.reasons == ()
    assert at_b.site_correction == "applied"


@pytest.mark.parametrize(("site", "words"), [("C", "has not learned from this site"), (None, "site is not told")])
def test_an_unknown_site_is_reported_and_never_transformed(site, words):
    (found,) = answers(site)
    assert found.brain_age.estimate == 55.0
    assert (found.decision, found.site_correction) == ("review", "unknown_site")
    assert found.reasons[0].code == "site_not_corrected"
    assert words in found.reasons[0].sentence


def test_a_bundle_without_a_correction_neither_asks_nor_says_anything_of_sites():
    (found,) = answers(None, shifts=None)
    assert (found.brain_age.estimate, found.reasons, found.site_correction) == (55.0, (), None)


def test_the_site_is_named_before_other_reasons_and_a_refusal_tells_it_too():
    subjects, heads = [SubjectAttributes(110.0, scan_site="C")] * 2, tensors([0.5, 0, 0, 0], [50, 50, 0, 0])
    found, refused = predictor(site_shifts=SHIFTS).predict(
        heads, subjects, [Scanner()] * 2, [(Reason("blurred", "X."),)] * 2
    )
    assert [reason.code for reason in found.reasons][:3] == [
        "site_not_corrected", "blurred", "age_outside_calibration",
    ]  # fmt: skip
    assert (refused.code, refused.details["site_correction"]) == ("out_of_distribution", "unknown_site")


def test_the_file_is_read_back_as_it_was_written_and_a_wrong_one_is_refused(tmp_path):
    SHIFTS.save(tmp_path / "harmonisation.npz")
    read = SiteShifts.load(tmp_path / "harmonisation.npz", 4)
    np.testing.assert_array_equal(read.shifts, SHIFTS.shifts)
    assert read.sites.tolist() == ["A", "B"]
    with pytest.raises(BundleError, match="one of 5 values"):
        SiteShifts.load(tmp_path / "harmonisation.npz", 5)
    (tmp_path / "harmonisation.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError, match="cannot be read"):
        SiteShifts.load(tmp_path / "harmonisation.npz", 4)
