"""Where ventricles, surface and white matter lie in the template, and how a point moves when they change."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.resampling import coarsen
from med3d_pipeline.volume import Affine, Volume

Field = npt.NDArray[np.float32]

GRID_MM = 2.0
FLUID_SHARE = 0.4
"""Darker than this share of the brightest tissue is fluid."""
DEEP_MM = 18.0
"""Fluid this far below the surface is no sulcus."""
WHITE_SHARE = 0.85
VENTRICLE_REACH_MM = 12.0
SURFACE_REACH_MM = 10.0
LESION_BAND_MM = (3.0, 16.0)


@dataclass(frozen=True, eq=False)
class PhantomAnatomy:
    """On the template's axes at ``grid_mm``. brain: (X, Y, Z), brightest tissue 1.

    from_ventricles, to_surface: (3, X, Y, Z) displacement in voxels for 1 mm of change. lesion_places: (P, 3) voxels of
    the white matter around the ventricles.
    """

    grid_mm: float
    brain: Field
    affine: Affine
    from_ventricles: Field
    to_surface: Field
    lesion_places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, template: Template, grid_mm: float = GRID_MM) -> Self:
        """Find it in the template itself. Raises ValueError where it has no two ventricles."""
        coarse, mask = coarsen(template.brain, grid_mm), coarsen(template.mask, grid_mm).voxels > 0.5
        brain = np.where(mask, coarse.voxels, 0.0)
        brain = (brain / np.percentile(brain[mask], 98)).astype(np.float32)
        depth = _signed_distance_mm(mask, grid_mm)
        outside = -_signed_distance_mm(_ventricles(brain, depth), grid_mm)
        band = (outside > LESION_BAND_MM[0]) & (outside < LESION_BAND_MM[1]) & (depth > DEEP_MM)
        return cls(
            grid_mm=grid_mm,
            brain=brain,
            affine=coarse.affine,
            from_ventricles=_outwards(outside, VENTRICLE_REACH_MM, grid_mm),
            to_surface=-_outwards(depth, SURFACE_REACH_MM, grid_mm),
            lesion_places=np.argwhere(band & (brain > WHITE_SHARE)),
        )

    def volume(self, voxels: Field) -> Volume:
        """Return ``voxels`` on this grid."""
        return Volume(voxels=voxels, affine=self.affine)


def _ventricles(brain: Field, depth: Field) -> npt.NDArray[np.bool_]:
    """Return the two largest pieces of deep fluid."""
    pieces, count = ndimage.label((brain < FLUID_SHARE) & (depth > DEEP_MM))
    if count < 2:
        raise ValueError("no two ventricles were found in the template")
    sizes = np.bincount(pieces.ravel())[1:]
    return np.isin(pieces, 1 + np.argsort(sizes)[::-1][:2])


def _signed_distance_mm(inside: npt.NDArray[np.bool_], grid_mm: float) -> Field:
    """Return a distance: above 0 inside, below 0 outside."""
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return np.asarray(distance * grid_mm, dtype=np.float32)


def _outwards(distance_mm: Field, reach_mm: float, grid_mm: float) -> Field:
    """Return the unit steps up the distance, fading with it on both sides of 0, in voxels per mm."""
    slope = np.stack(np.gradient(ndimage.gaussian_filter(distance_mm, 1.0)))
    unit = slope / np.maximum(np.sqrt((slope**2).sum(axis=0)), 1e-3)
    step = unit * np.exp(-np.abs(distance_mm) / reach_mm) / grid_mm
    # The two ventricles' fields meet in the middle: smoothing keeps the map from folding there.
    return np.stack([ndimage.gaussian_filter(part, 1.0) for part in step]).astype(np.float32)
