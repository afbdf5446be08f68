"""Pictures that need no data, as NIfTI."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from field.case import Case, Right, Room, number, refused, same_as
from field.made import NEAR, NEVER, SAME, changed, head, save


def as_it_is(voxels: np.ndarray) -> np.ndarray:
    """Leave it as it is."""
    return voxels


def brighter(voxels: np.ndarray) -> np.ndarray:
    """Factor and offset."""
    return voxels * 7.3 - 211


def offset(voxels: np.ndarray) -> np.ndarray:
    """Small values far from 0."""
    return voxels * 1e-3 + 50


def front_to_back(voxels: np.ndarray) -> np.ndarray:
    """The nose where the neck was."""
    return voxels[:, ::-1]


def top_to_bottom(voxels: np.ndarray) -> np.ndarray:
    """Upside down."""
    return voxels[:, :, ::-1]


def top_is_zero(voxels: np.ndarray) -> np.ndarray:
    """4.5 cm below the top of the head, all is 0."""
    top = np.flatnonzero((voxels > 0.2 * voxels.max()).sum((0, 1)) > 200)[-1]
    cut = voxels.copy()
    cut[:, :, top - 22 :] = 0
    return cut


def without_contrast(voxels: np.ndarray) -> np.ndarray:
    """All tissue equally bright, as in a proton density image."""
    inside = gaussian_filter(voxels, 1) > 0.25 * np.percentile(voxels, 99)
    noise = np.random.default_rng(0).normal(0, 20, voxels.shape)
    return np.where(inside, 1000, 0) + np.abs(noise)


def inverted(voxels: np.ndarray) -> np.ndarray:
    """White matter dark and grey matter bright, as in T2."""
    inside = gaussian_filter(voxels, 1) > 0.1 * np.percentile(voxels, 99)
    return np.where(inside, np.percentile(voxels, 99.5) - voxels, 0).clip(0)


def moved_sform(_: Room, folder: Path) -> Path:
    """The sform is turned and moved, the qform is as scanned."""
    voxels, affine = head()
    angle = np.radians(6)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:3, 3] = 3, -12, 9
    image = nib.Nifti1Image(voxels, turned @ affine)
    image.set_sform(turned @ affine, 2)
    image.set_qform(affine, 1)
    nib.save(image, folder / "t1.nii.gz")
    return folder / "t1.nii.gz"


def empty_sform(_: Room, folder: Path) -> Path:
    """The sform is marked as set and all zeros."""
    voxels, affine = head()
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, folder / "t1.nii")
    content = bytearray((folder / "t1.nii").read_bytes())
    content[280:328] = bytes(48)
    (folder / "t1.nii").write_bytes(content)
    return folder / "t1.nii"


def padded(value: float, _: Room, folder: Path) -> Path:
    """Six centimetres of padding all round, of a value that no tissue has."""
    voxels, affine = head()
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ np.full(3, 30.0)
    return save(np.pad(voxels, 30, constant_values=value), moved, folder)


def own_pictures() -> list[Case]:
    """All of them."""
    pictures: dict[str, tuple[Callable[[np.ndarray], np.ndarray], tuple[Right, ...], str]] = {
        "nifti": (as_it_is, (number(18, 90),), "the head itself"),
        "brighter": (brighter, SAME, "offset and factor change nothing"),
        "offset": (offset, SAME, "an offset changes nothing"),
        "front_to_back": (front_to_back, NEVER, "mirrored"),
        "top_to_bottom": (top_to_bottom, NEVER, "mirrored"),
        "top_is_zero": (top_is_zero, (refused("brain_cut_off"),), "zeros in place of the brain are no brain"),
        "without_contrast": (without_contrast, NEVER, "not T1"),
        "inverted": (inverted, NEVER, "not T1"),
    }
    return [
        *(Case(f"own:{name}", partial(changed, how), right, why) for name, (how, right, why) in pictures.items()),
        Case(
            "own:moved_sform",
            moved_sform,
            (same_as("own:nifti", 1.5),),
            "sform wins over a qform that is rigidly elsewhere",
        ),
        Case("own:empty_sform", empty_sform, (same_as("own:nifti", reviews=("forms_differ",)),), "qform is left"),
        Case("own:padded", partial(padded, -2000), NEAR, "padding is no part of the picture"),
        Case("own:padded_as_air", partial(padded, -1000), NEAR, "padding with the CT's value of air makes no CT"),
    ]
