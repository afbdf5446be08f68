"""Brain extraction's geometry, with networks that call bright voxels brain."""

import numpy as np
import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.brain_extraction import (
    BOX_GRID,
    BrainNetworks,
    brain_box,
    extract_brain,
    largest_component,
    whole_brain,
)
from med3d_pipeline.preprocessing.connected_parts import fill_cavities, largest_part
from med3d_pipeline.volume import Volume
from rig.science import heads
from rig.science.brain_networks import blind_networks, brightness_networks


def ball(size: int = 48, radius: float = 13, centre: tuple[float, float, float] = (20, 25, 27)) -> Volume:
    """A bright ball on a dim ground, 2 mm voxels."""
    i, j, k = np.meshgrid(*[np.arange(size)] * 3, indexing="ij")
    distance = np.sqrt((i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2)
    return Volume(voxels=np.where(distance < radius, 100.0, 2.0).astype(np.float32), affine=np.diag([2.0, 2.0, 2.0, 1]))


def test_a_ball_is_found_where_it_is() -> None:
    head = ball()
    brain = extract_brain(head, brightness_networks())
    truth = head.voxels > 50
    found = brain.on(head) > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97


def test_a_native_grid_of_half_the_spacing_gets_the_mask_voxel_by_voxel() -> None:
    head = ball()
    halves = head.affine @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
    native = Volume(voxels=head.voxels.repeat(2, 0).repeat(2, 1).repeat(2, 2), affine=halves)
    brain = extract_brain(head, brightness_networks())
    on_native = brain.on(native)
    fine_box = tuple(slice(2 * side.start, 2 * side.stop) for side in brain.box)
    assert np.array_equal(on_native[fine_box], brain.fine)
    assert on_native.sum() == brain.fine.sum()


def test_shares_are_between_nought_and_one_and_add_up_to_the_volume() -> None:
    head = ball()
    brain = extract_brain(head, brightness_networks())
    shares = brain.share().voxels
    assert shares.min() == 0
    assert shares.max() == 1
    assert shares.sum() == pytest.approx(brain.fine.sum() / 8)
    assert shares.sum() == pytest.approx(4 / 3 * np.pi * 13**3, rel=0.05)


def test_the_networks_see_the_mean_and_spread_that_they_were_trained_with() -> None:
    networks = brightness_networks()
    extract_brain(ball(), networks)
    (image,) = networks.box_session._session.given
    assert image.shape == (1, 1, *BOX_GRID)
    assert image.mean() == pytest.approx(0.449, abs=1e-4)
    assert image.std() == pytest.approx(0.226, abs=1e-4)


@pytest.mark.parametrize("networks", [blind_networks()])
def test_networks_that_see_no_brain_refuse_the_image(networks: BrainNetworks) -> None:
    with pytest.raises(InputRefused) as caught:
        extract_brain(ball(), networks)
    assert caught.value.code == "not_a_head"


def test_an_image_with_one_bright_voxel_has_no_brain() -> None:
    voxels = np.zeros((40, 40, 40), dtype=np.float32)
    voxels[20, 20, 20] = 1
    with pytest.raises(InputRefused) as caught:
        extract_brain(Volume(voxels=voxels, affine=np.eye(4)), brightness_networks())
    assert caught.value.code == "not_a_head"


def test_the_larger_of_two_parts_is_kept_whole_and_its_cavity_filled() -> None:
    mask = np.zeros((20, 20, 20), dtype=np.uint8)
    mask[2:10, 2:10, 2:10] = 1
    mask[5, 5, 5] = 0
    mask[14:17, 14:17, 14:17] = 1
    kept = whole_brain(mask)
    assert kept.sum() == 8**3
    assert kept[5, 5, 5] == 1


@pytest.mark.parametrize("density", [0.1, 0.35, 0.7])
def test_the_whole_brain_is_the_same_when_looked_for_within_its_own_box(density: float) -> None:
    """Cavities that open at the box's faces, but not at the image's, and parts at the image's edge among them."""
    mask = np.zeros((24, 20, 26), dtype=np.uint8)
    mask[3:20, 5:, 4:22] = np.random.default_rng(6).random((17, 15, 18)) < density
    assert np.array_equal(whole_brain(mask), fill_cavities(largest_part(mask)))


def test_an_empty_mask_holds_no_brain() -> None:
    with pytest.raises(InputRefused) as caught:
        whole_brain(np.zeros((8, 8, 8), dtype=np.uint8))
    assert caught.value.code == "not_a_head"


def test_parts_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((8, 8, 8), dtype=np.uint8)
    mask[:4, :4, :4] = 1
    mask[4:6, 4:6, 4:6] = 1
    assert largest_component(mask).sum() == 64 + 8


def test_stray_voxels_do_not_stretch_the_box() -> None:
    rough = np.zeros((32, 32, 32), dtype=np.uint8)
    rough[8:24, 8:24, 8:24] = 1
    rough[0, 0, 0] = 1
    box = brain_box(rough, (64, 64, 64))
    assert box == (slice(13, 51), slice(13, 51), slice(13, 51))


def test_a_brain_thinner_than_a_voxel_is_none() -> None:
    rough = np.zeros((128, 128, 128), dtype=np.uint8)
    rough[8:120, 8:120, :3] = 1
    with pytest.raises(InputRefused) as caught:
        brain_box(rough, (64, 64, 8))
    assert caught.value.code == "not_a_head"


def test_the_average_head_s_scale_of_brightness_does_not_matter() -> None:
    head = ball()
    scaled = Volume(voxels=head.voxels * 37, affine=head.affine)
    first = extract_brain(head, brightness_networks()).fine
    assert np.array_equal(first, extract_brain(scaled, brightness_networks()).fine)


def test_heads_that_were_cut_keep_their_place() -> None:
    head = ball()
    cut = heads.cut_off(head, axis=0, keep=slice(6, 48))
    whole, part = extract_brain(head, brightness_networks()), extract_brain(cut, brightness_networks())
    assert np.abs(whole.on(head)[6:].astype(int) - part.on(cut)).mean() < 0.002
