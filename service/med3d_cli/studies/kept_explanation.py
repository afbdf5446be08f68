"""What `med3d analyse --explain` writes for people who want to look."""

import base64
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed
from med3d_contract.explanations import StoredExplanation
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.preprocessing.resampling import sample_linear
from med3d_pipeline.volume import Volume

PICTURE, NUMBERS, DIFFERENCE = "explanation.png", "explanation.json", "older_minus_head.nii.gz"


def keep_explanation(found: StoredExplanation, folder: Path) -> Path:
    """Write picture and numbers into ``folder``, which is made; return the picture's path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with placed(folder / PICTURE) as aside:
            aside.write_bytes(base64.b64decode(found.picture.png_base64))
        with placed(folder / NUMBERS) as aside:
            aside.write_text(found.explanation.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}") from error
    return folder / PICTURE


def keep_difference(difference: npt.NDArray[np.float32], images: Preprocessed, folder: Path) -> None:
    """Write what 10 years more change, (X, Y, Z) on the tensor's grid, back on the scan's own grid (axes as in RAS)."""
    to_template = np.asarray(np.linalg.inv(images.template_to_native), dtype=np.float64)
    there = Volume(difference, images.tensor_affine)
    native = sample_linear(there, images.brain_mask.shape, images.native_affine, to_template)
    try:
        with placed(folder / DIFFERENCE) as aside:
            nib.save(nib.Nifti1Image(native, images.native_affine), aside)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}") from error
