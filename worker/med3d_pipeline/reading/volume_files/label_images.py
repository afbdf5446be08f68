"""Masks and label maps: images whose values are names of regions, which no scanner measured."""

import numpy as np

from med3d_pipeline.reading.refusals import Fault
from med3d_pipeline.volume import Voxels, repeats_one_slice

PLANES = 48  # of all along the first axis: enough to tell
ALIKE = 0.5  # share of neighbours with one and the same value; in a scan noise makes nearly all differ
FEW_VALUES = 16  # no scan has so few
UNORDERED = 0.1  # of all values: how far apart neighbours of different regions are; in a scan greys change gradually
EDGE = 0.02  # of a probability: as good as 0 or 1
SETTLED = 0.5  # share of a map's voxels that are as good as 0 or 1
CERTAIN = 0.2  # share of a map's voxels above EDGE that are as good as 1; of a head scaled to 0..1 hardly any is


def label_fault(voxels: Voxels) -> Fault | None:
    """Return the fault of a mask or label image, or None where ``voxels`` (X, Y, Z) may be a scan."""
    sample = voxels[:: max(1, voxels.shape[0] // PLANES)]
    measured = np.isfinite(sample)
    lowest = sample.min(where=measured, initial=np.inf)
    beside = (sample[..., 1:] > lowest) & (sample[..., :-1] > lowest)
    pairs = np.count_nonzero(beside)
    alike = np.count_nonzero(beside & (sample[..., 1:] == sample[..., :-1]))
    if not pairs or alike < ALIKE * pairs or (sample != np.round(sample))[measured].any():
        return None
    values, ranks = np.unique(sample, return_inverse=True)
    if len(values) == 1 or repeats_one_slice(voxels):
        return None  # a constant image, or one slice in place of all: preprocessing refuses them by that name
    if len(values) > FEW_VALUES:
        steps = np.abs(np.diff(ranks.reshape(sample.shape).astype(np.int32), axis=-1))[beside]
        apart = steps[steps > 0]
        if apart.size and np.median(apart) <= UNORDERED * len(values):
            return None
    count = len(np.unique(voxels))
    return Fault(
        "label_image",
        f"The image is a mask or a label image: {count} whole-number values in large uniform regions, no scan. "
        "Send the T1-weighted head scan itself.",
    )


def is_probability_map(voxels: Voxels) -> bool:
    """Tell whether ``voxels`` (X, Y, Z) look like probabilities: within [0, 1], and mostly one or the other.

    A scan scaled to [0, 1] has a dark background, too, but few voxels at its upper end.
    """
    values = voxels[np.isfinite(voxels)]
    if not values.size or values.min() < -EDGE or values.max() > 1 + EDGE:
        return False
    above = int(np.count_nonzero(values > EDGE))
    certain = int(np.count_nonzero(values >= 1 - EDGE))
    return above > 0 and values.size - above + certain >= SETTLED * values.size and certain >= CERTAIN * above


def probability_fault() -> Fault:
    """Return the fault of a map of probabilities that lies beside a head."""
    return Fault(
        "label_image",
        "The image is a map of probabilities from 0 to 1, such as a smooth mask or a tissue class, no scan. "
        "Send the T1-weighted head scan itself.",
    )
