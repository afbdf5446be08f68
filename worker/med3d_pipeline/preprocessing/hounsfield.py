"""Computed tomography known by its values, where no header says what the image is."""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.resampling import coarsening_factors
from med3d_pipeline.volume import Volume

SAMPLING_MM = 3.0
# Hounsfield units are the same on every scanner: air is -1000, water 0, soft tissue within 120 of that, bone above 300.
# Padding outside the scanner's circle lies below air. Between air and fat there is little but the skin's edges.
AIR, BETWEEN, FAT, SOFT, BONE = (-1100.0, -900.0), (-800.0, -250.0), (-150.0, -30.0), (-30.0, 120.0), (300.0, 3500.0)
LEAST_AIR = 0.05  # of all voxels
LEAST_SOFT, LEAST_BONE, MOST_BETWEEN = 0.25, 0.01, 0.25  # of those brighter than air
LEAST_FAT = 0.005  # an MRI padded with -1000 has none: its own air is 0


def refuse_hounsfield_units(volume: Volume) -> None:
    """Raise InputRefused("ct_values") where the values of ``volume``, as stored, are those of a CT of a body."""
    x, y, z = coarsening_factors(volume, SAMPLING_MM)
    sample = volume.voxels[::x, ::y, ::z]
    body = sample[sample > AIR[1]]
    if not body.size or _share(sample, AIR) < LEAST_AIR:
        return
    tissues = ((FAT, LEAST_FAT), (SOFT, LEAST_SOFT), (BONE, LEAST_BONE))
    if all(_share(body, values) > least for values, least in tissues) and _share(body, BETWEEN) < MOST_BETWEEN:
        raise InputRefused(
            "ct_values",
            "The image's values are those of a CT: air at -1000, soft tissue near 0 and bone above 300 Hounsfield "
            "units. Send a T1-weighted MRI of the head.",
        )


def _share(values: npt.NDArray[np.float32], bounds: tuple[float, float]) -> float:
    return float(np.count_nonzero((values >= bounds[0]) & (values <= bounds[1])) / values.size)
