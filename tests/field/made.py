"""The average head of the pydeface wheel at 2 mm, as NIfTI or as an MR series, changed in one way each."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from field.case import Room, refused, same_as
from med3d_cli.embedded.demo_head import average_head, write_mr_series
from med3d_pipeline.volume import Volume

SAME, NEAR = (same_as("own:nifti"),), (same_as("own:nifti", 0.5),)
SAME_DICOM = (same_as("own:dicom"),)
NEVER = (refused(),)


def head() -> tuple[np.ndarray, np.ndarray]:
    """Voxels (X, Y, Z) from left, back and bottom, and the affine."""
    volume = average_head()
    affine = volume.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    return volume.voxels[::2, ::2, ::2].astype(np.float32), affine


def save(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> Path:
    """One NIfTI with both forms set."""
    image = nib.Nifti1Image(np.asarray(voxels, np.float32), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, folder / "t1.nii.gz")
    return folder / "t1.nii.gz"


def changed(change: Callable[[np.ndarray], np.ndarray], _: Room, folder: Path) -> Path:
    """The head as NIfTI with other voxels."""
    voxels, affine = head()
    return save(change(voxels), affine, folder)


def series(change: Callable[[Dataset], None], _: Room, folder: Path) -> Path:
    """The head as an MR series, each slice of which is changed."""
    voxels, affine = head()
    write_mr_series(Volume(voxels, affine), folder)
    for path in sorted(folder.iterdir()):
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path)
    return folder


def nothing(dataset: Dataset) -> None:
    """Leave it as it is."""
