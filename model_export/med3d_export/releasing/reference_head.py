"""The reference case's input: an average head that may be passed on, on 2 mm voxels."""

import gzip
from importlib.metadata import distribution
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from med3d_pipeline.bundle.reference_case import FOLDER
from med3d_pipeline.preprocessing.itk_images import affine_of, image_of, to_array
from med3d_pipeline.volume import Volume

SPACING_MM = 2.0
_AVERAGE_HEAD = "pydeface/data/mean_reg2mean.nii.gz"


def average_head() -> Volume:
    """Return the average head with skull and face that the pydeface wheel carries (MIT), as it lies there."""
    image = nib.load(distribution("pydeface").locate_file(_AVERAGE_HEAD))
    return Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64))


def write_reference_input(bundle: Path) -> None:
    """Write reference_case/input.nii.gz: the average head, smoothed and resampled to 2 mm, int16."""
    head = average_head()
    image = image_of(head)
    smooth = sitk.SmoothingRecursiveGaussian(image, SPACING_MM / 2.355)
    size = [max(1, round(n * mm / SPACING_MM)) for n, mm in zip(head.shape, head.spacing_mm, strict=True)]
    coarse = sitk.Resample(
        smooth, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), [SPACING_MM] * 3, image.GetDirection()
    )
    voxels = np.clip(to_array(coarse), 0, None)
    out = nib.Nifti1Image(np.round(voxels * (32000.0 / voxels.max())).astype(np.int16), affine_of(coarse))
    folder = bundle / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # mtime 0 keeps the compressed bytes, and with them the digest, the same from one release to the next.
    with gzip.GzipFile(folder / "input.nii.gz", "wb", mtime=0) as stream:
        stream.write(out.to_bytes())
