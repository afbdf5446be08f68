"""Parts and cavities of masks, held against SimpleITK's filters."""

import numpy as np
import pytest
import SimpleITK as sitk

from med3d_pipeline.preprocessing.connected_parts import fill_cavities, largest_part


def largest_by_simple_itk(mask: np.ndarray) -> np.ndarray:
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask), True)
    return sitk.GetArrayFromImage(sitk.RelabelComponent(parts, sortByObjectSize=True) == 1)


def filled_by_simple_itk(mask: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask), False, 1))


@pytest.mark.parametrize("density", [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
def test_parts_and_cavities_are_those_of_simple_itk(density: float) -> None:
    random = np.random.default_rng(7)
    for _ in range(20):
        mask = (random.random(random.integers(1, 12, 3)) < density).astype(np.uint8)
        assert np.array_equal(fill_cavities(mask), filled_by_simple_itk(mask))
        if mask.any():
            assert np.array_equal(largest_part(mask), largest_by_simple_itk(mask))


def test_a_line_that_ends_does_not_touch_the_one_that_begins_behind_it() -> None:
    mask = np.zeros((3, 3, 4), dtype=np.uint8)
    mask[0, 2, 2:], mask[1, 0, :2] = 1, 1
    mask[2, 2, 3] = 1
    assert largest_part(mask).sum() == 2


def test_of_parts_as_large_the_first_is_kept() -> None:
    mask = np.zeros((5, 1, 1), dtype=np.uint8)
    mask[[0, 2, 4]] = 1
    assert largest_part(mask).ravel().tolist() == [1, 0, 0, 0, 0]


def test_a_mask_is_not_changed_and_neither_is_one_without_cavities() -> None:
    mask = np.ones((4, 5, 6), dtype=np.uint8)
    mask[1:3, 1:4, 1:5] = 0
    before = mask.copy()
    assert fill_cavities(mask).all()
    assert largest_part(mask).sum() == mask.sum()
    assert np.array_equal(mask, before)
    assert not fill_cavities(np.zeros((3, 3, 3), dtype=np.uint8)).any()
