"""The whole of preprocessing on a phantom, with networks that call bright voxels brain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.black_level import BlackLevel
from med3d_pipeline.preprocessing.brain_extraction import BrainMask, BrainNetworks
from med3d_pipeline.preprocessing.image_content import Content
from med3d_pipeline.preprocessing.measures.quality_measures import QualityEvidence
from med3d_pipeline.preprocessing.preprocess import BrainFound, Preprocessed, Preprocessor
from med3d_pipeline.preprocessing.spec import BiasFieldSpec, PreprocessSpec, QualityLimits
from med3d_pipeline.volume import Volume
from rig.science import heads
from rig.science.brain_networks import blind_networks, brightness_networks

# Quick settings: what is tested is how the steps fit, not how well N4 does.
SPEC = PreprocessSpec(shape=(32, 32, 32), spacing_mm=6.0, bias_field=BiasFieldSpec(grid_mm=12.0, iterations=(5,)))


def preprocessor(networks: BrainNetworks | None = None, spec: PreprocessSpec = SPEC) -> Preprocessor:
    brain = heads.phantom()
    template = Template(brain=brain, mask=Volume((brain.voxels > 0).astype(np.float32), brain.affine))
    return Preprocessor(spec, template, networks or brightness_networks(0.45), threads=1)


@pytest.fixture(scope="module")
def made() -> Preprocessed:
    return preprocessor()(heads.phantom())


def test_the_tensor_has_the_spec_s_shape_and_holds_the_brain(made: Preprocessed) -> None:
    assert made.tensor.shape == (32, 32, 32)
    assert made.tensor.dtype == np.float32
    assert made.tensor.min() == 0
    assert 0.9 < made.tensor.max() <= SPEC.intensity.highest


def test_a_head_like_the_template_stays_where_it_is(made: Preprocessed) -> None:
    corner = np.array([60, 80, 60, 1.0])
    assert np.linalg.norm((made.template_to_native @ corner - corner)[:3]) < 2
    assert made.measures["template_overlap"] > 0.95
    assert made.measures["registration_similarity"] > 0.97


def test_the_mask_lies_on_the_head_s_own_grid(made: Preprocessed) -> None:
    head = heads.phantom()
    assert made.brain_mask.shape == head.shape
    assert made.brain_mask.dtype == np.uint8
    assert np.allclose(made.native_affine, head.affine)
    assert (made.brain_mask > 0)[head.voxels > 0].mean() > 0.9


def test_every_stage_is_announced_and_timed(made: Preprocessed) -> None:
    heard: list[str] = []
    preprocessor()(heads.phantom(), heard.append)
    assert heard == list(made.timings_s)
    assert heard == ["brain extraction", "bias field", "registration", "resampling", "quality measures"]
    assert all(seconds >= 0 for seconds in made.timings_s.values())


def test_the_same_head_gives_the_same_digest_however_it_is_stored(made: Preprocessed) -> None:
    run = preprocessor()
    assert run(heads.phantom()).digest() == made.digest()
    turned = run(heads.stored_otherwise(heads.phantom(), (2, 0, 1), (True, False, True)))
    assert turned.digest() == made.digest()


@given(gain=st.floats(0.01, 1000), offset=st.floats(-2, 20))
@settings(max_examples=5, deadline=None)
def test_no_gain_and_no_offset_of_brightness_change_the_tensor(made: Preprocessed, gain: float, offset: float) -> None:
    head = heads.phantom()
    changed = Volume(voxels=(gain * (head.voxels + offset * 60)).astype(np.float32), affine=head.affine)
    assert np.allclose(preprocessor()(changed).tensor, made.tensor, atol=2e-3)


def test_another_head_gives_another_digest(made: Preprocessed) -> None:
    assert preprocessor()(heads.noisy(heads.phantom(), 0.02)).digest() != made.digest()


def test_a_scan_of_one_millimetre_and_its_average_give_the_same_tensor() -> None:
    fine = heads.phantom(spacing_mm=1.0)
    run = preprocessor()
    whole, half = run(fine), run(heads.averaged_by_two(fine))
    difference = np.sqrt(((whole.tensor - half.tensor) ** 2).mean() / (whole.tensor**2).mean())
    assert difference < 0.01


@pytest.mark.parametrize(
    ("head", "code"), [(heads.with_nan(heads.phantom()), "not_finite"), (heads.constant(), "constant_image")]
)
def test_images_that_no_step_can_work_with_are_refused_first(head: Volume, code: str) -> None:
    with pytest.raises(InputRefused) as caught:
        preprocessor()(head)
    assert caught.value.code == code


def test_a_head_without_a_brain_is_refused() -> None:
    with pytest.raises(InputRefused) as caught:
        preprocessor(blind_networks())(heads.phantom())
    assert caught.value.code == "not_a_head"


@pytest.mark.parametrize("kept", [1, 2, 4, 6])
def test_a_few_slices_that_were_kept_of_a_head_are_no_head(kept: int) -> None:
    """Fewer voxels than the filters need; a millimetre each, so that blocks of two are left out or single."""
    fine = heads.phantom(spacing_mm=1.0)
    voxels = np.zeros_like(fine.voxels)
    middle = fine.shape[2] // 2
    voxels[:, :, middle : middle + kept] = fine.voxels[:, :, middle : middle + kept]
    with pytest.raises(InputRefused) as caught:
        preprocessor()(Volume(voxels, fine.affine))
    assert caught.value.code == "not_a_head"


def test_a_brain_in_the_end_slice_of_a_very_coarse_scan_is_none() -> None:
    """A person may choose slices 12 mm apart; what lies around such a brain is too few of them."""
    head = Volume(np.ones((60, 60, 10), np.float32), np.diag([2.0, 2.0, 12.0, 1.0]))
    box = (slice(10, 50), slice(10, 50), slice(0, 1))
    brain = BrainMask(head, box, np.ones((80, 80, 2), np.uint8))
    content = Content((slice(0, 60), slice(0, 60), slice(0, 10)), 0.0)
    mask = brain.on(head)
    with pytest.raises(InputRefused) as caught:
        preprocessor().views(BrainFound(BlackLevel(head, 0.0, None), content, head, head, brain, mask, mask))
    assert caught.value.code == "not_a_head"


def test_the_spec_s_digest_follows_every_number() -> None:
    changed = PreprocessSpec(bias_field=BiasFieldSpec(convergence=1e-4))
    assert changed.digest() != PreprocessSpec().digest()
    assert PreprocessSpec.model_validate_json(PreprocessSpec().model_dump_json()).digest() == PreprocessSpec().digest()


def test_unknown_settings_are_an_error() -> None:
    with pytest.raises(ValidationError):
        PreprocessSpec.model_validate({"shpae": [1, 2, 3]})


def test_the_evidence_of_quality_measures_is_a_value() -> None:
    with pytest.raises(AttributeError):
        QualityEvidence.__setattr__(object.__new__(QualityEvidence), "share", None)


def test_limits_that_review_lie_inside_those_that_refuse() -> None:
    limits = QualityLimits()
    for name, (low, high) in limits.review.items():
        refused_low, refused_high = limits.refuse.get(name, (None, None))  # some are marked and never refused
        assert low is None or refused_low is None or low > refused_low
        assert high is None or refused_high is None or high < refused_high
