"""One phantom's image from its factors."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from med3d_export.phantom.anatomy import Field, PhantomAnatomy
from med3d_export.phantom.factors import PhantomDesign, PhantomFactors
from med3d_pipeline.volume import Volume

OWN_SMOOTHNESS_MM = 10.0
OWN_STEP = 4
LESION_RADIUS_MM = (1.5, 4.0)
REACH = 4
"""Voxels from a lesion's middle beyond which it is not felt."""
LESION_DEPTH = 0.5
"""A lesion takes this share of the white matter's brightness."""


def phantom_head(
    anatomy: PhantomAnatomy, factors: PhantomFactors, person: int, design: PhantomDesign, seed: int
) -> Volume:
    """Return one person on the anatomy's grid, brain only, brightest tissue about 1; the same whoever else is drawn."""
    chance = np.random.default_rng([seed, person])
    lesioned = anatomy.brain * _lesions(anatomy, float(factors.lesion_ml[person]), chance)
    # Backwards: a voxel takes what lay nearer to the ventricle, or nearer to the surface, before the change.
    shift = -factors.ventricle_mm[person] * anatomy.from_ventricles
    shift = shift + factors.atrophy_mm[person] * anatomy.to_surface + _own_shape(anatomy, design.own_mm, chance)
    places = np.indices(anatomy.brain.shape, dtype=np.float32) + shift
    moved = ndimage.map_coordinates(lesioned, places, order=1)
    scanned = np.clip(moved, 0.0, None) ** np.exp(factors.log_gamma[person])
    noise = design.noise * chance.standard_normal(scanned.shape)
    return anatomy.volume(np.where(moved > 0.02, np.clip(scanned + noise, 0.0, None), 0.0).astype(np.float32))


def _own_shape(anatomy: PhantomAnatomy, own_mm: float, chance: np.random.Generator) -> Field:
    """Return a smooth random field (3, X, Y, Z) in voxels, of ``own_mm`` standard deviation.

    Drawn on a coarser grid.
    """
    shape = anatomy.brain.shape
    coarse = [size // OWN_STEP + 2 for size in shape]
    smoothness = OWN_SMOOTHNESS_MM / anatomy.grid_mm / OWN_STEP
    parts = []
    for _ in range(3):
        part = ndimage.gaussian_filter(chance.standard_normal(coarse), smoothness)
        fine = ndimage.zoom(part / part.std(), OWN_STEP, order=1)
        parts.append(fine[: shape[0], : shape[1], : shape[2]])
    return np.asarray(np.stack(parts) * own_mm / anatomy.grid_mm, dtype=np.float32)


def _lesions(anatomy: PhantomAnatomy, total_ml: float, chance: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a factor (X, Y, Z) on brightness: soft dark balls in white matter, ``total_ml`` in all."""
    darkness = np.zeros(anatomy.brain.shape, dtype=np.float32)
    left = total_ml * 1000.0
    while left > 0:
        radius = float(chance.uniform(*LESION_RADIUS_MM))
        radius = min(radius, float((left * 3 / (4 * np.pi)) ** (1 / 3)))
        left -= 4 / 3 * np.pi * radius**3
        left = 0.0 if left < 1.0 else left
        centre = anatomy.lesion_places[chance.integers(len(anatomy.lesion_places))]
        low = np.maximum(centre - REACH, 0)
        high = np.minimum(centre + REACH + 1, darkness.shape)
        box = tuple(slice(start, stop) for start, stop in zip(low.tolist(), high.tolist(), strict=True))
        near = np.indices(tuple(high - low)) + (low - centre)[:, None, None, None]
        distance = np.sqrt((near**2).sum(axis=0)) * anatomy.grid_mm
        ball = 1.0 / (1.0 + np.exp((distance - radius) / 0.5))
        darkness[box] = np.maximum(darkness[box], ball)
    return 1.0 - LESION_DEPTH * darkness
