"""DLMUSE's labels in groups that a reader knows.

DLMUSE numbers regions as MUSE does (Doshi et al., NeuroImage 2016): those of the cortex are the Neuromorphometrics
protocol's, an even number for the right side and the next one for the left.
"""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.explanation.region_table import VENTRICLES


def _both_sides(*right: int) -> tuple[int, ...]:
    return tuple(number for first in right for number in (first, first + 1))


GROUPS: dict[str, tuple[int, ...]] = {
    VENTRICLES: (4, 11, 49, 50, 51, 52),
    "frontal cortex": _both_sides(
        104, 112, 118, 120, 124, 136, 140, 142, 146, 150, 152, 162, 164, 178, 182, 190, 192, 204
    ),
    "parietal cortex": _both_sides(106, 148, 168, 174, 176, 194, 198),
    "temporal cortex": _both_sides(116, 122, 132, 154, 170, 180, 184, 200, 202, 206),
    "occipital cortex": _both_sides(108, 114, 128, 134, 144, 156, 160, 196),
    "cingulate and insular cortex": _both_sides(100, 102, 138, 166, 172, 186),
    "deep grey matter": (23, 30, 36, 37, 55, 56, 57, 58, 59, 60, 61, 62, 75, 76),
    "hippocampus and amygdala": (31, 32, 47, 48),
    "white matter": tuple(range(81, 96)),
    "cerebellum": (38, 39, 40, 41, 71, 72, 73),
    "brain stem": (35,),
}
WHITE_MATTER = "white matter"


def group_of_labels() -> npt.NDArray[np.uint8]:
    """Return the group's number plus 1 by label (256,); 0 for what belongs to none: fluid around the brain, vessels."""
    groups = np.zeros(256, dtype=np.uint8)
    for number, labels in enumerate(GROUPS.values(), start=1):
        groups[list(labels)] = number
    return groups
