"""What is measured, and which refusal follows from which measure."""

import math

import numpy as np
import pytest

from med3d_pipeline.preprocessing.alignment.registration import Alignment
from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.measures.contrast import find_tissues
from med3d_pipeline.preprocessing.measures.quality_measures import QualityEvidence, measure_quality
from med3d_pipeline.preprocessing.quality import QUALITY_CODES, judge_quality
from med3d_pipeline.preprocessing.resampling import coarsening_factors, sample_linear
from med3d_pipeline.preprocessing.spec import PreprocessSpec, QualityLimits
from med3d_pipeline.reasons import Reason, ReviewCode
from med3d_pipeline.volume import Volume
from rig.science import heads

GOOD = {
    "brain_volume_ml": 1450.0,
    "template_overlap": 0.95,
    "registration_similarity": 0.965,
    "affine_determinant": 1.3,
    "affine_anisotropy": 1.1,
    "template_outside_view": 0.0,
    "brain_at_edge_cm2": 0.0,
    "brain_at_removed_face_cm2": 0.0,
    "blank_slices_mm": 0.0,
    "signal_to_noise": 20.0,
    "contrast_to_noise": 9.0,
    "white_over_grey": 0.27,
    "tissue_correlation": 0.48,
    "gain_by_turning": 0.0,
    "clipped_bright_share": 0.001,
    "clipped_dark_share": 0.0,
    "repeated_slices_mm": 0.0,
    "ghost_share": 0.01,
}


def code_of(**changes: float) -> str | None:
    refusal = judge_quality(GOOD | changes, QualityLimits()).refusal
    return refusal.code if refusal else None


def brain_volume(noise_sigma: float = 0.0) -> Volume:
    brain = heads.phantom()
    noise = np.random.default_rng(3).normal(0, noise_sigma, brain.shape)
    return Volume(voxels=(brain.voxels + noise).astype(np.float32), affine=brain.affine)


def measured(native: Volume, mask: np.ndarray, template_to_native: np.ndarray | None = None) -> dict[str, float]:
    phantom = heads.phantom()
    template = Template(brain=phantom, mask=Volume((phantom.voxels > 0).astype(np.float32), phantom.affine))
    share = Volume(voxels=mask.astype(np.float32), affine=native.affine)
    motion = np.eye(4) if template_to_native is None else template_to_native
    alignment = Alignment(template_to_native=motion, similarity=0.97)
    spec = PreprocessSpec()
    tensor = sample_linear(native, spec.shape, grid_affine(template, spec), motion)
    tissues = find_tissues(template, spec)
    return measure_quality(QualityEvidence(native, mask.astype(np.uint8), share, alignment, template, tensor, tissues))


def test_a_good_head_passes_without_remark() -> None:
    verdict = judge_quality(GOOD, QualityLimits())
    assert verdict.failed == ()
    assert verdict.refusal is None
    assert verdict.review_reasons == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signal_to_noise": 0.0, "contrast_to_noise": 0.0, "template_overlap": 0.6}, "brain_blank"),
        ({"signal_to_noise": 1.8, "contrast_to_noise": 1.4, "brain_at_edge_cm2": 90.0}, "too_noisy"),
        ({"white_over_grey": -0.1, "tissue_correlation": -0.2, "brain_at_edge_cm2": 120.0}, "not_t1_weighted_voxels"),
        ({"white_over_grey": 0.01, "tissue_correlation": 0.05, "brain_at_edge_cm2": 120.0}, "brain_cut_off"),
        ({"blank_slices_mm": 1.0, "template_overlap": 0.84, "brain_at_edge_cm2": 90.0}, "blank_slices"),
        ({"brain_at_edge_cm2": 60.0, "registration_similarity": 0.8}, "brain_cut_off"),
        ({"gain_by_turning": 0.03, "registration_similarity": 0.86, "template_overlap": 0.88}, "wrong_orientation"),
        ({"registration_similarity": 0.68, "template_overlap": 0.85, "affine_anisotropy": 1.6}, "not_a_head"),
        ({"contrast_to_noise": 1.4, "registration_similarity": 0.85, "brain_volume_ml": 2670.0}, "not_a_head"),
        ({"registration_similarity": 0.85, "brain_volume_ml": 700.0}, "not_a_head"),
        ({"white_over_grey": -0.11, "tissue_correlation": -0.3}, "not_t1_weighted_voxels"),
        ({"tissue_correlation": -0.3, "registration_similarity": 0.85}, "not_t1_weighted_voxels"),
        ({"white_over_grey": -0.2, "brain_volume_ml": 500.0}, "not_t1_weighted_voxels"),
        ({"clipped_bright_share": 0.2}, "brightness_altered"),
        ({"clipped_dark_share": 0.1}, "brightness_altered"),
        ({"clipped_dark_share": 0.1, "white_over_grey": -0.1}, "not_t1_weighted_voxels"),
        ({"ghost_share": 0.2}, "ghosting"),
        ({"brain_volume_ml": 300.0}, "brain_volume_implausible"),
        ({"affine_anisotropy": 2.5}, "registration_failed"),
    ],
)
def test_the_measure_that_explains_the_others_decides_the_code(changes: dict[str, float], code: str) -> None:
    assert code_of(**changes) == code
    assert code in QUALITY_CODES


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_measure_that_is_no_number_or_missing_never_passes(name: str) -> None:
    limits = QualityLimits(refuse={name: (0.0, 1e6)})
    assert judge_quality(GOOD | {name: math.nan}, limits).failed == (name,)
    assert judge_quality({n: v for n, v in GOOD.items() if n != name}, limits).failed == (name,)


def test_no_noise_at_all_is_infinite_signal_to_noise_and_passes() -> None:
    assert code_of(signal_to_noise=math.inf, contrast_to_noise=math.inf) is None


def test_a_refusal_says_what_was_measured_and_the_limits() -> None:
    refusal = judge_quality(GOOD | {"brain_volume_ml": 300.0}, QualityLimits()).refusal
    assert refusal is not None
    found = refusal.details["failed"]["brain_volume_ml"]
    assert found["measured"] == 300.0
    assert found["limits"] == list(QualityLimits().refuse["brain_volume_ml"])


def test_a_head_between_review_and_refusal_is_let_through_with_a_reason() -> None:
    limits = QualityLimits(refuse={"brain_volume_ml": (500.0, None)}, review={"brain_volume_ml": (1000.0, 2000.0)})
    verdict = judge_quality(GOOD | {"brain_volume_ml": 800.0}, limits)
    assert verdict.refusal is None
    sentence = "The brain volume is 800 ml; expected is 1000 to 2000 ml."
    assert verdict.review_reasons == (Reason(ReviewCode.UNUSUAL_MEASURE, sentence),)


def test_what_could_not_be_measured_is_said_in_words_and_a_bundle_s_own_measure_by_its_name() -> None:
    limits = QualityLimits(refuse={}, review={"brain_volume_ml": (None, 2000.0), "voxel_noise": (1.0, None)})
    said = [reason.sentence for reason in judge_quality({"voxel_noise": 0.5}, limits).review_reasons]
    assert said == [
        "The brain volume could not be measured; expected is at most 2000 ml.",
        "The voxel noise is 0.5; expected is at least 1.",
    ]


def test_volume_and_overlap_of_a_brain_that_is_the_template_s() -> None:
    brain = brain_volume()
    mask = brain.voxels > 0
    measures = measured(brain, mask)
    assert measures["brain_volume_ml"] == pytest.approx(mask.sum() * 0.027, rel=1e-6)
    assert measures["template_overlap"] > 0.99
    assert measures["affine_determinant"] == pytest.approx(1)
    assert measures["affine_anisotropy"] == pytest.approx(1)
    assert measures["template_outside_view"] == 0
    assert measures["brain_at_edge_cm2"] == 0


def test_a_stretch_shows_in_determinant_and_anisotropy() -> None:
    brain = brain_volume()
    measures = measured(brain, brain.voxels > 0, np.diag([0.5, 1.0, 1.0, 1.0]))
    assert measures["affine_determinant"] == pytest.approx(2)
    assert measures["affine_anisotropy"] == pytest.approx(2)


def test_a_cut_through_the_brain_shows_as_area_at_the_edge_and_as_template_outside() -> None:
    whole = brain_volume()
    cut = heads.cut_off(whole, axis=2, keep=slice(0, whole.shape[2] // 2))
    measures = measured(cut, cut.voxels > 0)
    assert measures["brain_at_edge_cm2"] == pytest.approx((cut.voxels[:, :, -1] > 0).sum() * 0.09, rel=0.1)
    assert measures["brain_at_edge_cm2"] > 100
    assert measures["template_outside_view"] == pytest.approx(0.5, abs=0.1)


def test_an_extracted_brain_that_fills_the_box_around_it_is_whole() -> None:
    brain = brain_volume()
    held = [np.flatnonzero(brain.voxels.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    tight = brain
    for axis, places in enumerate(held):
        tight = heads.cut_off(tight, axis=axis, keep=slice(int(places[0]), int(places[-1]) + 1))
    measures = measured(tight, tight.voxels > 0)
    assert judge_quality(GOOD | {"brain_at_edge_cm2": measures["brain_at_edge_cm2"]}, QualityLimits()).refusal is None


@pytest.mark.parametrize("spacing_mm", [0.5, 0.7, 0.8, 1.0, 1.05, 1.2, 1.3, 2.0])
def test_a_mask_that_ends_where_the_working_grid_does_was_cut_off_too(spacing_mm: float) -> None:
    """Whatever is left over of the image beyond the last whole voxel of the working grid."""
    whole = brain_volume()
    cut = heads.cut_off(whole, axis=2, keep=slice(0, whole.shape[2] // 2))
    fine = Volume(cut.voxels, cut.affine @ np.diag([1, 1, spacing_mm / 3, 1.0]))
    for left_out in range(coarsening_factors(fine, 2.0)[2]):
        mask = fine.voxels > 0
        mask[:, :, mask.shape[2] - left_out :] = False
        assert measured(fine, mask)["brain_at_edge_cm2"] > 100


def test_the_noise_that_was_added_is_the_noise_that_is_measured() -> None:
    sigma = 4.0
    native = brain_volume(noise_sigma=sigma)
    mask = heads.phantom().voxels > 0
    measures = measured(native, mask)
    middle = np.median(native.voxels[mask])
    assert middle / measures["signal_to_noise"] == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("change", [1e-6, -1e-6, 1e-4])
def test_the_noise_does_not_depend_on_which_axis_a_rounded_header_calls_the_finest(change: float) -> None:
    phantom = heads.phantom()
    # The same along z: no noise for who looks along that axis, and all of it for who looks along another.
    striped = phantom.voxels + np.random.default_rng(3).normal(0, 4, (*phantom.shape[:2], 1))
    mask = phantom.voxels > 0
    found = []
    for axis in range(3):
        scale = np.ones(4)
        scale[axis] -= change
        native = Volume(striped.astype(np.float32), phantom.affine @ np.diag(scale))
        found.append(measured(native, mask)["signal_to_noise"])
    assert found == pytest.approx([found[0]] * 3, rel=0.01)


def ends_of(voxels: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    measures = measured(Volume(voxels.astype(np.float32), heads.phantom().affine), mask)
    return measures["clipped_bright_share"], measures["clipped_dark_share"]


def test_what_a_display_s_window_cut_off_shows_as_shares_of_the_brain_at_both_ends() -> None:
    whole = brain_volume(noise_sigma=4.0).voxels
    mask = heads.phantom().voxels > 0
    bright, dark = ends_of(whole, mask)
    assert bright < 0.01
    assert dark < 0.005
    low, high = np.percentile(whole[mask], [10, 80])
    bright, dark = ends_of(np.clip(whole, low, high) - low, mask)
    assert bright == pytest.approx(0.2, abs=0.01)
    assert dark > 0.03


def test_zeros_around_an_extracted_brain_are_none_inside_it() -> None:
    mask = heads.phantom().voxels > 0
    rim = np.where(mask, brain_volume().voxels, 0)
    wider = mask.copy()
    wider[1:] |= mask[:-1]
    assert ends_of(rim, wider)[1] == 0


def test_a_slice_that_was_written_twice_is_measured_by_its_thickness() -> None:
    native = brain_volume(noise_sigma=4.0)
    mask = heads.phantom().voxels > 0
    assert measured(native, mask)["repeated_slices_mm"] == 0
    middle = native.shape[2] // 2
    twice = native.voxels.copy()
    twice[:, :, middle] = twice[:, :, middle - 1]
    assert measured(Volume(twice, native.affine), mask)["repeated_slices_mm"] == pytest.approx(native.spacing_mm[2])
