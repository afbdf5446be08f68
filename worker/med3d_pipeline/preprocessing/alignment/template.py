"""The template: where every head is aligned to."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.resampling import coarsen, resample
from med3d_pipeline.preprocessing.spec import PreprocessSpec
from med3d_pipeline.volume import Affine, Volume


@dataclass(frozen=True)
class Template:
    """A skull-stripped head and its brain mask (1 = brain), on one grid, axes along RAS."""

    brain: Volume
    mask: Volume

    def __post_init__(self) -> None:
        if self.brain.shape != self.mask.shape or not np.allclose(self.brain.affine, self.mask.affine):
            raise ValueError("the template and its mask lie on different grids")

    @classmethod
    def open(cls, image: Path, mask: Path) -> "Template":
        """Read template.nii.gz and template_mask.nii.gz."""
        return cls(brain=_read(image), mask=_read(mask))

    @cached_property
    def centre_mm(self) -> tuple[float, float, float]:
        """Middle of the box around the brain, RAS+ mm."""
        held = np.argwhere(self.mask.voxels > 0.5)
        middle = (held.min(axis=0) + held.max(axis=0)) / 2
        x, y, z = self.mask.affine[:3, :3] @ middle + self.mask.affine[:3, 3]
        return (float(x), float(y), float(z))

    def mask_on(self, grid_mm: float) -> Volume:
        """Return the mask on a grid of about ``grid_mm``, the share of brain in each voxel.

        Worked out once for each grid.
        """
        if grid_mm not in self._coarse_masks:
            self._coarse_masks[grid_mm] = coarsen(self.mask, grid_mm)
        return self._coarse_masks[grid_mm]

    @cached_property
    def _coarse_masks(self) -> dict[float, Volume]:
        return {}


def grid_affine(template: Template, spec: PreprocessSpec) -> Affine:
    """Return (4, 4) map from the tensor's voxels to the template's RAS+ mm."""
    affine = np.diag([spec.spacing_mm] * 3 + [1.0])
    middle = (np.array(spec.shape) - 1) / 2
    affine[:3, 3] = np.array(template.centre_mm) - spec.spacing_mm * middle
    return affine


def brain_on_grid(template: Template, spec: PreprocessSpec) -> npt.NDArray[np.bool_]:
    """Tell which voxels (X, Y, Z) of the tensor's grid are brain in the template."""
    return np.asarray(resample(template.mask, spec.shape, grid_affine(template, spec), np.eye(4)) > 0.5)


def _read(path: Path) -> Volume:
    image = nib.load(path)
    return to_closest_ras(Volume(voxels=np.asarray(image.dataobj, dtype=np.float32), affine=image.affine))
