"""What `med3d analyse --keep` writes for people who want to look."""

from pathlib import Path

import nibabel as nib
import numpy as np

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed
from med3d_worker.preparing.preparation import PreparedStudy

AFFINE_HEADER = "template RAS mm to scanner RAS mm; 4 x 4, row by row"


def keep_images(study: PreparedStudy, folder: Path) -> None:
    """Write brain_mask.nii.gz (native space), template_to_native.txt (4 x 4) and normalised.nii.gz (template space)."""
    images = study.images
    assert images is not None, "without a cache the images are there"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with placed(folder / "brain_mask.nii.gz") as aside:
            nib.save(nib.Nifti1Image(images.brain_mask, images.native_affine), aside)
        with placed(folder / "normalised.nii.gz") as aside:
            nib.save(nib.Nifti1Image(images.tensor, images.tensor_affine), aside)
        with placed(folder / "template_to_native.txt") as aside:
            np.savetxt(aside, images.template_to_native, fmt="%.9g", header=AFFINE_HEADER)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}") from error
