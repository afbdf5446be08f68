"""Nothing of a face before the brain, nothing of the brain touched, wherever the head lies."""

import nibabel as nib
import numpy as np
import pytest

from med3d_pipeline.preprocessing.defacing import MARGIN_MM, deface
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.volume import Volume
from rig.science import heads
from rig.science.faces import skin_before_brain

SPACING_MM = 3.0


def head_with_brain(nod_degrees=0.0):
    """A ball of tissue with a nose around a ball of brain, on the template's middle; and where the template lies."""
    turn = np.deg2rad(nod_degrees)
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = -SPACING_MM * 39.5
    x, y, z = (affine[0, 3] + SPACING_MM * axis for axis in np.indices((80, 80, 80)))
    front, top = np.cos(turn) * y + np.sin(turn) * z, np.cos(turn) * z - np.sin(turn) * y
    brain = x**2 + front**2 + top**2 < 60**2
    skin = (x**2 + front**2 + top**2 < 80**2) | (x**2 + (front - 80) ** 2 + (top + 30) ** 2 < 20**2)
    voxels = np.where(brain, 100.0, np.where(skin, 150.0, 5.0))
    to_native = np.eye(4)
    to_native[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return Volume(voxels, affine), brain.astype(np.uint8), to_native


@pytest.mark.parametrize("nod_degrees", [0.0, 25.0])
def test_before_the_brain_no_skin_is_left_and_near_the_brain_nothing_is_touched(nod_degrees):
    head, brain, to_native = head_with_brain(nod_degrees)
    without = deface(head, brain, to_native)
    assert skin_before_brain(head, brain) == 1
    assert skin_before_brain(without, brain) == 0
    changed = np.argwhere(without.voxels != head.voxels)
    from_brain_mm = np.linalg.norm(changed @ head.affine[:3, :3] + head.affine[:3, 3], axis=1) - 60
    assert from_brain_mm.min() > MARGIN_MM - SPACING_MM
    assert set(np.unique(without.voxels[tuple(changed.T)])) == {5.0}


def test_a_head_that_was_not_aligned_loses_what_lies_before_the_middle_of_its_brain():
    head, brain, _ = head_with_brain()
    assert skin_before_brain(deface(head, brain, None), brain) == 0


def test_of_a_head_without_a_brain_nothing_is_left():
    head, brain, to_native = head_with_brain()
    assert set(np.unique(deface(head, np.zeros_like(brain), to_native).voxels)) == {5.0}


@pytest.mark.realdata
def test_a_real_head_shows_no_skin_before_its_brain(test_data):
    folder = test_data / "nifti" / "head_with_mask"
    head = to_closest_ras(heads.read_head(folder / "Scan1_T1.nii.gz"))
    mask = nib.load(folder / "Scan1_T1_BRAINMASK.nii.gz")
    brain = to_closest_ras(Volume(np.asarray(mask.dataobj, np.float32), mask.affine)).voxels > 0
    without = deface(head, brain.astype(np.uint8), None)
    assert skin_before_brain(head, brain) > 0.95
    assert skin_before_brain(without, brain) == 0
    np.testing.assert_array_equal(without.voxels[brain], head.voxels[brain])
