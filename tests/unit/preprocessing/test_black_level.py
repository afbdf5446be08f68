"""No signal is found in an image however it is stored, and is zero from then on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.black_level import raise_to_black, require_measured
from med3d_pipeline.reading.volume_files.label_images import label_fault
from med3d_pipeline.volume import Volume
from rig.science import heads


def scan(seed: int = 3) -> Volume:
    """A bottle in air: whole numbers, the noise of the air down to 0."""
    bottle = heads.cylinder(noise_sigma=12.0, seed=seed)
    return Volume(voxels=np.round(bottle.voxels), affine=bottle.affine)


def stripped_scan() -> Volume:
    """Something brain-sized with nothing but zeros around it."""
    return heads.phantom(spacing_mm=2.0)


def changed(head: Volume, voxels: np.ndarray) -> Volume:
    return Volume(voxels=voxels.astype(np.float32), affine=head.affine)


def test_a_scan_whose_air_reaches_zero_stays_as_it_is() -> None:
    for head in (scan(), stripped_scan()):
        found = raise_to_black(head)
        assert found.black == 0
        assert np.array_equal(found.volume.voxels, head.voxels)
        assert found.not_measured is None


@given(gain=st.floats(1e-3, 1e4), offset=st.floats(-3, 3), brain_only=st.booleans())
def test_gain_and_offset_fall_out(gain: float, offset: float, brain_only: bool) -> None:
    head = stripped_scan() if brain_only else scan()
    found = raise_to_black(changed(head, gain * (head.voxels + offset * 400)))
    assert np.allclose(found.volume.voxels / gain, head.voxels, atol=0.05)


@pytest.mark.parametrize("fill", [-32768.0, -2000.0, 0.0])
def test_a_fill_value_far_below_is_no_signal_and_not_the_black(fill: float) -> None:
    head = scan()
    corners = np.hypot(*np.ogrid[-48:48, -55:55]) > 52
    voxels = head.voxels + 500
    voxels[corners] = fill
    found = raise_to_black(changed(head, voxels))
    assert found.black == pytest.approx(500, abs=2)
    assert not found.volume.voxels[corners].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("fill", [-20.0, -60.0, -500.0])
def test_one_padded_slice_at_the_border_is_no_signal_whichever_way_it_lies(axis: int, fill: float) -> None:
    head = scan()
    voxels = head.voxels.copy()
    np.moveaxis(voxels, axis, 0)[0] = fill
    found = raise_to_black(changed(head, voxels))
    assert found.black == 0
    assert not np.moveaxis(found.volume.voxels, axis, 0)[0].any()


def test_a_fill_value_in_the_midst_of_the_brightness_is_no_signal() -> None:
    """A brain that was scaled to mean 0 and deviation 1, with 0 around it."""
    head = scan()
    inside = head.voxels > 200
    graded = np.random.default_rng(5).normal(0, 1, head.shape)
    found = raise_to_black(changed(head, np.where(inside, graded, 0)))
    assert found.black == pytest.approx(-3.1, abs=0.4)
    assert not found.volume.voxels[~inside].any()


def test_a_grey_level_that_noise_likes_most_is_no_fill_value() -> None:
    voxels = np.round(np.random.default_rng(1).normal(100, 1.5, heads.SHAPE_2MM))
    found = raise_to_black(Volume(voxels=voxels.astype(np.float32), affine=heads.ISOTROPIC_2MM))
    assert found.black < 98
    assert np.median(found.volume.voxels) > 2


def test_what_is_no_number_outside_the_brain_is_background() -> None:
    head = scan()
    brain = (head.voxels > 200).astype(np.uint8)
    found = raise_to_black(changed(head, np.where(brain, head.voxels, np.nan)))
    require_measured(brain, found)
    assert not found.volume.voxels[brain == 0].any()
    assert found.not_measured_share == pytest.approx(1 - brain.mean())


@pytest.mark.parametrize(("reach", "refused"), [(8, False), (None, True)])
def test_a_background_without_numbers_may_reach_into_the_brain_a_little(reach: int | None, refused: bool) -> None:
    """As a notch that an extraction of its own left, not as a slab through the whole brain."""
    head = scan()
    brain = head.voxels > 200
    x, _, z = (int(place) for place in np.argwhere(brain).mean(axis=0))
    numbers = brain.copy()
    first = int(np.flatnonzero(brain[x, :, z])[0])
    numbers[x - 1 : x + 2, : None if reach is None else first + reach, z - 1 : None if reach is None else z + 2] = False
    found = raise_to_black(changed(head, np.where(numbers, head.voxels, np.nan)))
    if not refused:
        require_measured(brain.astype(np.uint8), found)
        return
    with pytest.raises(InputRefused) as caught:
        require_measured(brain.astype(np.uint8), found)
    assert caught.value.code == "not_finite"


def test_a_background_without_numbers_may_reach_into_the_brain_over_corners() -> None:
    head = scan()
    brain = head.voxels > 200
    place, voxels = np.argwhere(brain).mean(axis=0).astype(int), head.voxels.copy()
    voxels[~brain] = np.nan
    while brain[tuple(place)]:
        voxels[tuple(place)] = np.nan
        place += 1
    require_measured(brain.astype(np.uint8), raise_to_black(changed(head, voxels)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_inside_the_brain_is_refused(bad: float) -> None:
    head = scan()
    voxels = head.voxels.copy()
    voxels[48, 55, 48] = bad
    with pytest.raises(InputRefused) as caught:
        require_measured((head.voxels > 200).astype(np.uint8), raise_to_black(changed(head, voxels)))
    assert caught.value.code == "not_finite"
    assert caught.value.details == {"voxels": 1}


def test_an_image_without_a_number_is_refused() -> None:
    with pytest.raises(InputRefused) as caught:
        raise_to_black(changed(scan(), np.full(heads.SHAPE_2MM, np.nan)))
    assert caught.value.code == "not_finite"


def test_a_constant_image_is_refused_and_one_of_a_single_bright_voxel_is_not() -> None:
    with pytest.raises(InputRefused) as caught:
        raise_to_black(heads.constant())
    assert caught.value.code == "constant_image"
    voxels = heads.constant().voxels.copy()
    voxels[1, 1, 1] += 1
    raise_to_black(changed(heads.constant(), voxels))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_slice_in_place_of_all_is_refused_by_that_name_and_is_no_label_image(axis: int) -> None:
    voxels = np.round(scan().voxels)
    one = voxels.take([voxels.shape[axis] // 2], axis)
    same = changed(scan(), np.repeat(one, voxels.shape[axis], axis))
    assert label_fault(same.voxels) is None
    with pytest.raises(InputRefused, match="All slices of the image are the same") as caught:
        raise_to_black(same)
    assert caught.value.code == "slice_repeated"
