import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.errors import InferenceError, InputRefused
from med3d_pipeline.inference.prediction import Prediction, SubjectAttributes
from med3d_pipeline.reasons import Reason, ReviewCode
from rig.science.predictions import GRID, LIMITS, Scanner, latent_space, predictor, tensors

PHILIPS_3T = Scanner()


def answer(latent=(0.1, 0, 0, 0), age=None, scanner=PHILIPS_3T, reasons=None, **parts) -> Prediction:
    given_reasons = None if reasons is None else [reasons]
    (found,) = predictor(**parts).predict(
        tensors(list(latent)), [SubjectAttributes(age_years=age)], [scanner], given_reasons
    )
    assert isinstance(found, Prediction)
    return found


def codes(prediction: Prediction) -> list[str]:
    return [reason.code for reason in prediction.reasons]


def test_a_head_like_the_training_cohort_is_accepted_with_an_interval_around_its_estimate():
    found = answer()
    assert found.decision == "accepted"
    assert found.reasons == ()
    assert found.brain_age.estimate == pytest.approx(51.0)
    # ceil((19 + 1) 0.9) = 18th smallest of |-9 .. 9|: 9 years.
    assert found.brain_age.interval.lower == pytest.approx(42.0)
    assert found.brain_age.interval.upper == pytest.approx(60.0)
    assert found.brain_age.interval.level == 0.9


def test_without_an_age_there_is_no_gap():
    found = answer()
    assert found.gap is None
    assert found.gap_corrected is None


def test_the_gap_is_estimate_minus_age_and_its_interval_moves_along():
    found = answer(age=40.0)
    assert found.gap is not None
    assert found.gap.estimate == pytest.approx(11.0)
    assert found.gap.interval.lower == pytest.approx(2.0)
    assert found.gap.interval.upper == pytest.approx(20.0)


def test_the_corrected_gap_has_the_expected_gap_of_that_age_taken_out():
    found = answer(age=40.0)
    assert found.gap_corrected is not None
    assert found.gap_corrected.estimate == pytest.approx(11.0 - (10.0 - 0.2 * 40.0))
    assert found.gap_corrected.interval.upper - found.gap_corrected.estimate == pytest.approx(6.0)


def test_an_sdmt_head_on_measured_scores_has_an_interval_that_stays_on_the_scale():
    space = latent_space(sdmt_residuals=np.linspace(-70, 70, 19))
    found = answer(space=space, sdmt_evidence="SDMT scores of the cohort's manifest")
    assert found.sdmt is not None
    assert found.sdmt.interval is not None
    assert (found.sdmt.interval.lower, found.sdmt.interval.upper) == (0.0, 110.0)
    near = latent_space(sdmt_residuals=np.linspace(-9, 9, 19))
    narrow = answer(space=near, sdmt_evidence="SDMT scores of the cohort's manifest").sdmt
    assert narrow is not None
    assert narrow.interval is not None
    assert narrow.interval.upper - narrow.estimate == pytest.approx(9.0)


def test_an_sdmt_head_on_simulated_scores_or_with_too_few_of_them_promises_no_interval():
    simulated = answer(space=latent_space(sdmt_residuals=np.linspace(-9, 9, 19))).sdmt
    few = answer(space=latent_space(sdmt_residuals=np.ones(3)), sdmt_evidence="measured").sdmt
    assert simulated is not None
    assert few is not None
    assert simulated.interval is few.interval is None


def test_an_age_outside_the_calibration_is_for_review():
    assert codes(answer(age=85.0)) == ["age_outside_calibration"]
    assert codes(answer(age=19.0)) == ["age_outside_calibration"]
    assert codes(answer(age=80.0)) == []


def test_without_an_age_the_estimate_itself_must_lie_in_the_calibrated_range():
    assert codes(answer(latent=(3.5, 0, 0, 0))) == ["age_outside_calibration"]


@pytest.mark.parametrize(
    ("scanner", "expected"),
    [
        (Scanner(field_strength_t=None), ["field_strength_unknown"]),
        (Scanner(field_strength_t=1.5), ["field_strength_outside_calibration"]),
        (Scanner(field_strength_t=2.89), []),
        (Scanner(manufacturer="SIEMENS"), ["vendor_outside_calibration"]),
        (Scanner(manufacturer=None), ["vendor_outside_calibration"]),
    ],
)
def test_a_scanner_unlike_the_calibrations_is_for_review(scanner, expected):
    found = answer(scanner=scanner)
    assert codes(found) == expected
    assert found.decision == ("review" if expected else "accepted")


def test_what_was_known_before_prediction_comes_first_among_the_reasons():
    found = answer(age=85.0, reasons=[Reason(ReviewCode.SERIES_TIE, "Two series are alike.")])
    assert codes(found) == ["series_tie", "age_outside_calibration"]


def test_a_head_far_from_the_cohort_is_for_review():
    found = answer(latent=(0, 0, 0, 5.0))
    assert found.distance == pytest.approx(5.0)
    assert found.percentile == 100.0
    assert codes(found) == ["far_from_training"]


COHORT_PCA = np.array([[math.cos(place), math.sin(place)] for place in range(19)])
COHORT_PLS = np.array([[math.sin(place), 0.1 * place] for place in range(19)])


def test_a_scan_that_the_model_learned_from_is_told_by_its_place_in_the_cohort():
    space = latent_space(cohort_pca=COHORT_PCA, cohort_pls_age=COHORT_PLS)
    same = (COHORT_PCA[3, 0] + 1e-6, COHORT_PCA[3, 1], COHORT_PLS[3, 1], 0)
    assert "training_scan" in codes(answer(space=space, latent=same))
    assert "training_scan" not in codes(answer(space=space, latent=(*same[:2], same[2] + 0.05, 0)))


def test_a_bundle_that_keeps_its_cohort_private_cannot_tell_its_scans():
    nothing = np.empty((0, 2))
    private = latent_space(cohort_pca=nothing, cohort_pls_age=nothing)
    assert "training_scan" not in codes(answer(space=private, latent=(0, 0, 0, 0)))


def test_a_head_beyond_the_limit_is_refused_and_costs_its_neighbour_nothing():
    far, near = predictor().predict(tensors([0, 0, 0, 9.0], [0.1, 0, 0, 0]), [SubjectAttributes()] * 2, [Scanner()] * 2)
    assert isinstance(far, InputRefused)
    assert far.code == "out_of_distribution"
    assert far.details == {"distance": 9.0, "limit": 8.0}
    assert isinstance(near, Prediction)


def blind(latents: np.ndarray) -> np.ndarray:
    """A decoder that knows the dark head only: all of a head is unexplained."""
    return np.zeros((len(latents), 1, *GRID), np.float32)


WITH_DECODER = {
    "decode": blind,
    "space": latent_space(held_out_reconstruction_errors=np.arange(1, 20) / 10.0),
    "limits": LIMITS.model_copy(update={"refuse_reconstruction_error": 2.5}),
}


def test_a_head_that_the_decoder_shows_less_well_than_held_out_ones_is_for_review():
    # Root mean square 1.85 of held-out errors up to 1.9, and distance 3.7 of held-out ones up to 4.75.
    found = answer(latent=(1.85,) * 4, age=40.0, **WITH_DECODER)
    assert codes(found) == []
    assert codes(answer(latent=(1.95,) * 4, age=40.0, **WITH_DECODER)) == ["poorly_reconstructed"]


def test_a_head_that_the_decoder_cannot_show_at_all_is_refused_whatever_its_latent():
    (found,) = predictor(**WITH_DECODER).predict(tensors([3.0] * 4), [SubjectAttributes()], [Scanner()])
    assert isinstance(found, InputRefused)
    assert found.code == "out_of_distribution"
    assert found.details == {"reconstruction_error": 3.0, "limit": 2.5}


def test_a_bundle_without_a_decoder_says_nothing_of_reconstruction():
    assert codes(answer(latent=(1.95,) * 4, age=40.0)) == []


def test_a_decoder_that_gives_no_finite_head_is_a_fault_of_ours():
    broken = WITH_DECODER | {"decode": lambda z: np.full((len(z), 1, *GRID), np.nan, np.float32)}
    with pytest.raises(InferenceError, match="decoder"):
        answer(**broken)


def test_a_tensor_that_is_not_finite_is_a_fault_of_ours():
    with pytest.raises(InferenceError, match="tensor"):
        answer(latent=(np.nan, 0, 0, 0))


def test_a_latent_that_is_not_finite_is_a_fault_of_ours():
    with pytest.raises(InferenceError, match="encoder"):
        answer(encode=lambda t: np.full((len(t), 4), np.inf, np.float32))


@pytest.mark.parametrize("head", ["age_head", "sdmt_head"])
def test_an_estimate_that_is_not_finite_is_a_fault_of_ours(head):
    with pytest.raises(InferenceError, match="head"):
        answer(**{head: lambda z: np.full((len(z), 1), np.nan, np.float32)})


def test_a_tensor_on_another_grid_is_a_programming_error():
    with pytest.raises(ValueError, match="tensors must be"):
        predictor().predict(np.zeros((1, 3, 2, 1), np.float32), [SubjectAttributes()], [Scanner()])


def test_no_tensors_give_no_predictions():
    assert predictor().predict(np.zeros((0, 2, 2, 1), np.float32), [], []) == []


def test_fewer_subjects_than_tensors_is_a_programming_error():
    with pytest.raises(ValueError, match=r"1 tensors .* with 0 subjects, 1 acquisitions"):
        predictor().predict(tensors([0, 0, 0, 0]), [], [Scanner()])


def test_sdmt_carries_its_evidence_no_interval_and_stays_on_its_scale():
    found = answer(latent=(-7.0, 0, 0, 0))
    assert found.sdmt is not None
    assert found.sdmt.estimate == 110.0
    assert found.sdmt.interval is None
    assert found.sdmt.evidence == "simulated labels"


def test_a_bundle_without_an_sdmt_head_gives_no_sdmt_and_no_sdmt_map():
    space = latent_space()
    bare = replace(space, pls_sdmt_axes=np.zeros((0, 4)), cohort_pls_sdmt=np.zeros((0, 2)))
    found = answer(space=bare, sdmt_head=None)
    assert found.sdmt is None
    assert found.map.pls_sdmt is None


def test_the_maps_are_the_latent_on_the_bundles_axes():
    found = answer(latent=(1.0, 2.0, 3.0, 0.5))
    assert found.map.pca == (1.0, 2.0)
    assert found.map.pls_age == (2.0, 3.0)
    assert found.map.pls_sdmt == (3.0, 0.5)


@given(st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 4), min_size=1, max_size=6))
def test_a_batch_answers_each_subject_as_if_it_were_alone(latents):
    subjects, scanners = [SubjectAttributes(age_years=50.0)] * len(latents), [Scanner()] * len(latents)
    together = predictor().predict(tensors(*map(list, latents)), subjects, scanners)
    for latent, found in zip(latents, together, strict=True):
        alone = answer(latent=latent, age=50.0)
        assert isinstance(found, Prediction)
        assert found.brain_age == alone.brain_age
        assert found.gap_corrected == alone.gap_corrected
        assert found.distance == alone.distance
