"""A brain that ends at zeros was cut, unless zeros are all around it."""

import numpy as np
import pytest
from scipy import ndimage

from med3d_pipeline.preprocessing.measures.brain_edge import ZerosBesideBrain, find_zeros_beside_brain
from med3d_pipeline.volume import Volume
from rig.science import heads

REFUSED_CM2 = 25.0
LOOKED_AT_CM2 = 8.0


@pytest.fixture(scope="module")
def head() -> Volume:
    """A brain in a head: tissue for some way around it, air beyond."""
    brain = heads.phantom()
    x, y, z = np.indices(brain.shape)
    middle = (np.array(brain.shape) - 1) / 2
    around = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2 < 38**2
    return Volume(np.where(around, np.maximum(brain.voxels, 20.0), 0.0).astype(np.float32), brain.affine)


def measure(image: np.ndarray, head: Volume) -> float:
    """All area beside zeros, at the face or elsewhere."""
    found = zeros(image, head)
    return found.at_face_cm2 + found.elsewhere_cm2


def zeros(image: np.ndarray, head: Volume) -> ZerosBesideBrain:
    """With the mask of a network that finds no brain where nothing is."""
    brain = (heads.phantom().voxels > 0) & (image > 0)
    return find_zeros_beside_brain(Volume(image.astype(np.float32), head.affine), brain.astype(np.uint8))


def test_a_whole_head_in_air_has_no_zeros_beside_its_brain(head: Volume) -> None:
    assert measure(head.voxels, head) == 0


def test_an_extracted_brain_is_whole_though_zeros_are_all_around(head: Volume) -> None:
    assert measure(heads.phantom().voxels, head) < LOOKED_AT_CM2


@pytest.mark.parametrize("margin_mm", [3, 6, 9])
def test_a_brain_extracted_with_a_loose_mask_is_whole(head: Volume, margin_mm: int) -> None:
    brain = heads.phantom().voxels > 0
    loose = ndimage.binary_dilation(brain, iterations=margin_mm // 3)
    image = np.where(loose, np.maximum(head.voxels, 10.0), 0)
    found = find_zeros_beside_brain(Volume(image.astype(np.float32), head.affine), brain.astype(np.uint8))
    assert found.elsewhere_cm2 < LOOKED_AT_CM2


@pytest.mark.parametrize("extracted", [False, True])
@pytest.mark.parametrize(("axis", "top"), [(2, True), (2, False), (1, True), (0, False)])
def test_slices_set_to_zero_are_a_cut(head: Volume, axis: int, extracted: bool, top: bool) -> None:
    whole = heads.phantom().voxels if extracted else head.voxels
    image = np.moveaxis(whole.copy(), axis, 0)
    held = np.flatnonzero(heads.phantom().voxels.any(axis=tuple(other for other in range(3) if other != axis)))
    image[held[-1] - 7 :] *= not top
    image[: held[0] + 7] *= top
    assert measure(np.moveaxis(image, 0, axis), head) > REFUSED_CM2


def test_a_slanting_cut_counts_too(head: Volume) -> None:
    x, y, z = np.indices(head.shape)
    slanted = z + 0.4 * y + 0.2 * x
    limit = np.percentile(slanted[heads.phantom().voxels > 0], 93)
    assert measure(np.where(slanted < limit, head.voxels, 0), head) > REFUSED_CM2


def test_lost_slices_amid_the_brain_are_a_cut(head: Volume) -> None:
    image = head.voxels.copy()
    image[:, :, 30:40] = 0
    assert measure(image, head) > REFUSED_CM2


def test_zeros_outside_the_head_and_a_speck_amid_them_change_nothing(head: Volume) -> None:
    image = head.voxels.copy()
    image[:, -3:, : image.shape[2] // 3] = 0
    image[0, 0, 0] = 500
    assert measure(image, head) == 0


def test_a_mask_without_brain_has_no_surface(head: Volume) -> None:
    assert find_zeros_beside_brain(head, np.zeros(head.shape, dtype=np.uint8)) == ZerosBesideBrain()


def test_zeros_in_place_of_the_face_are_told_apart_from_a_cut(head: Volume) -> None:
    brain = np.argwhere(heads.phantom().voxels > 0)
    (_, front, _), (_, _, middle) = brain.max(axis=0), (brain.min(axis=0) + brain.max(axis=0)) // 2
    image = head.voxels.copy()
    image[:, front - 6 :, : middle - 4] = 0
    found = zeros(image, head)
    assert found.at_face_cm2 > REFUSED_CM2
    assert found.elsewhere_cm2 == 0


def test_a_head_cut_out_along_its_skull_has_its_whole_brain(head: Volume) -> None:
    """Zeros 9 mm from the brain, which is more than fluid and less than the whole skull and scalp."""
    brain = heads.phantom().voxels > 0
    image = np.where(ndimage.binary_dilation(brain, iterations=3), head.voxels, 0)
    scalp = np.indices(head.shape)[2] < np.argwhere(brain)[:, 2].min() + 10
    assert measure(np.where(scalp, head.voxels, image), head) == 0
