"""The template that every head is aligned to: MNI ICBM152 2009a, nonlinear, as nilearn ships it.

V. Fonov et al., "Unbiased average age-appropriate atlases for pediatric studies", NeuroImage 54 (2011) 313-327.
nilearn's copy has the skull taken off and 1 mm voxels.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.datasets import load_mni152_template

from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.volume import Volume

TEMPLATE = "template.nii.gz"
TEMPLATE_MASK = "template_mask.nii.gz"


@dataclass(frozen=True)
class ExportedTemplate:
    """The two files and where they come from."""

    image: Path
    mask: Path
    source: str
    licence: str


def open_template() -> Template:
    """Return the template and its mask in memory, as ``export_template`` writes them."""
    brain, mask = _images()
    affine = np.asarray(brain.affine, dtype=np.float64)
    return Template(
        brain=Volume(voxels=np.asarray(brain.dataobj, dtype=np.float32), affine=affine),
        mask=Volume(voxels=np.asarray(mask.dataobj, dtype=np.float32), affine=affine),
    )


def _images() -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    brain = nib.as_closest_canonical(load_mni152_template(resolution=1))
    voxels = np.asarray(brain.dataobj, dtype=np.float32)
    return nib.Nifti1Image(voxels, brain.affine), nib.Nifti1Image((voxels > 0).astype(np.uint8), brain.affine)


def export_template(folder: Path) -> ExportedTemplate:
    """Write template.nii.gz (float32, 0 to 1) and template_mask.nii.gz (uint8, 1 = brain), RAS, 1 mm, into ``folder``.

    The files hold no time stamp, so that the same nilearn gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = folder / TEMPLATE, folder / TEMPLATE_MASK
    for made, place in zip(_images(), (image, mask), strict=True):
        nib.save(made, place)
    return ExportedTemplate(
        image=image,
        mask=mask,
        source=f"MNI ICBM152 2009a nonlinear, skull-stripped, from nilearn {version('nilearn')}",
        licence="ICBM 152 licence (free use with the copyright notice)",
    )
