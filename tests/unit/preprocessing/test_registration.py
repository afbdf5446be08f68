"""A brain that was moved in a known way is found again."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.alignment.registration import AffineRegistration
from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.resampling import sample_linear
from med3d_pipeline.preprocessing.spec import PreprocessSpec, QualityLimits, RegistrationSpec
from med3d_pipeline.volume import Volume
from rig.science import heads


@pytest.fixture(scope="module")
def template() -> Template:
    brain = heads.phantom()
    return Template(brain=brain, mask=Volume(voxels=(brain.voxels > 0).astype(np.float32), affine=brain.affine))


@pytest.fixture(scope="module")
def register(template: Template) -> AffineRegistration:
    return AffineRegistration(template, RegistrationSpec())


def moved(template: Template, motion: np.ndarray) -> Volume:
    """The template's brain where ``motion`` (RAS+ mm) takes it, on a roomy grid of 3 mm."""
    affine = template.brain.affine.copy()
    affine[:3, 3] -= 48
    shape = tuple(n + 32 for n in template.brain.shape)
    return Volume(voxels=sample_linear(template.brain, shape, affine, np.linalg.inv(motion)), affine=affine)


def motion_of(
    turns: tuple[float, float, float], sizes: tuple[float, float, float], shift: tuple[float, float, float]
) -> np.ndarray:
    motion = np.diag([*sizes, 1.0])
    for axis, turn in enumerate(turns):
        a, b = (other for other in range(3) if other != axis)
        rotation = np.eye(4)
        rotation[[a, a, b, b], [a, b, a, b]] = np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)
        motion = rotation @ motion
    motion[:3, 3] = shift
    return motion


def worst_corner_mm(first: np.ndarray, second: np.ndarray) -> float:
    corners = np.array([[x, y, z, 1] for x in (-68, 68) for y in (-89, 79) for z in (-58, 66)]).T
    return float(np.linalg.norm(((first - second) @ corners)[:3], axis=0).max())


@given(
    turns=st.tuples(*[st.floats(-0.35, 0.35)] * 3),
    sizes=st.tuples(*[st.floats(0.85, 1.15)] * 3),
    shift=st.tuples(*[st.floats(-20, 20)] * 3),
)
@example(turns=(0.25, 0.0, 0.0), sizes=(1.125, 0.8515625, 1.0), shift=(0.0, 0.0, 0.0)).via("lay back to front")
@settings(max_examples=12, deadline=None)
def test_a_turned_stretched_and_shifted_brain_is_found_within_half_a_millimetre(
    template: Template,
    register: AffineRegistration,
    turns: tuple[float, float, float],
    sizes: tuple[float, float, float],
    shift: tuple[float, float, float],
) -> None:
    motion = motion_of(turns, sizes, shift)
    alignment = register(moved(template, motion))
    assert worst_corner_mm(alignment.template_to_native, motion) < 0.5
    assert alignment.similarity > 0.98


def test_gain_and_offset_of_brightness_do_not_move_the_alignment(
    template: Template, register: AffineRegistration
) -> None:
    brain = moved(template, motion_of((0.1, 0.05, -0.1), (1.0, 1.0, 1.0), (4, 5, 6)))
    brighter = Volume(voxels=3.5 * brain.voxels, affine=brain.affine)
    first, second = register(brain), register(brighter)
    assert worst_corner_mm(first.template_to_native, second.template_to_native) < 0.05


def test_the_same_brain_is_aligned_to_the_same_bits(template: Template, register: AffineRegistration) -> None:
    brain = moved(template, motion_of((0.1, 0.05, -0.1), (1.0, 1.1, 1.0), (4, 5, 6)))
    assert register(brain).template_to_native.tobytes() == register(brain).template_to_native.tobytes()


def test_a_dark_image_cannot_be_aligned(template: Template, register: AffineRegistration) -> None:
    dark = Volume(voxels=np.zeros_like(template.brain.voxels), affine=template.brain.affine)
    with pytest.raises(InputRefused) as caught:
        register(dark)
    assert caught.value.code == "registration_failed"


def test_a_template_and_a_mask_on_different_grids_are_an_error(template: Template) -> None:
    elsewhere = Volume(voxels=template.mask.voxels, affine=template.mask.affine + np.diag([0, 0, 0.1, 0]))
    with pytest.raises(ValueError, match="different grids"):
        Template(brain=template.brain, mask=elsewhere)


def test_the_grid_is_centred_on_the_template_s_brain(template: Template) -> None:
    spec = PreprocessSpec()
    middle = grid_affine(template, spec) @ [*((np.array(spec.shape) - 1) / 2), 1]
    assert np.allclose(middle[:3], template.centre_mm)


def test_a_brain_in_its_place_gains_nothing_by_turning(template: Template, register: AffineRegistration) -> None:
    assert register.gain_by_turning(moved(template, motion_of((0.2, -0.1, 0.1), (1.1, 0.9, 1.0), (8, -5, 3)))) < 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_brain_the_other_way_round_gains_by_turning(
    template: Template, register: AffineRegistration, axis: int
) -> None:
    signs = [-1.0, -1.0, -1.0, 1.0]
    signs[axis] = 1.0
    assert register.gain_by_turning(moved(template, np.diag(signs))) > QualityLimits().refuse["gain_by_turning"][1]
