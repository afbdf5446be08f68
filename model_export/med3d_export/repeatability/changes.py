"""Every change that the repeatability of a model is measured under, with its sizes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from med3d_export.repeatability.rescans import coarser_slices, coarser_voxels, noisier, turned, uneven_gain
from med3d_export.repeatability.rewritings import (
    HeadChange,
    as_it_is,
    cut_closer,
    moved_header,
    rounded_header,
    stored_in_other_order,
)
from med3d_pipeline.volume import Volume

Group = Literal["rewriting", "rescan"]
GROUPS: tuple[Group, ...] = ("rewriting", "rescan")
Storage = Literal["float32", "int16"]
SEED = 2510


@dataclass(frozen=True)
class HeadVariant:
    """One way of doing a change, and the numbers that the file holds."""

    make: HeadChange
    stored_as: Storage = "float32"


@dataclass(frozen=True)
class Change:
    """What is done to a head. what: a sentence with the sizes; variants: each gives one more measurement of it."""

    name: str
    group: Group
    what: str
    variants: tuple[HeadVariant, ...]

    def changed(self, head: Volume, row: int) -> list[tuple[Volume, Storage]]:
        """Return ``head`` by every variant.

        What chance there is in it depends on ``row``, the change and the variant.
        """
        seeds = [[SEED, row, *self.name.encode(), number] for number in range(len(self.variants))]
        return [
            (variant.make(head, np.random.default_rng(seed)), variant.stored_as)
            for variant, seed in zip(self.variants, seeds, strict=True)
        ]


AXES = {"left to right": (1.0, 0.0, 0.0), "back to front": (0.0, 1.0, 0.0), "bottom to top": (0.0, 0.0, 1.0)}
_BOTH_STORAGES = (HeadVariant(as_it_is, "float32"), HeadVariant(as_it_is, "int16"))

STORED_OTHERWISE = Change(
    "float32 or int16", "rewriting", "Written as NIfTI in float32, and in int16 with a scale.", _BOTH_STORAGES
)
DICOM_AGAINST_NIFTI = Change(
    "NIfTI for DICOM", "rewriting", "A DICOM series written as NIfTI, in float32 and in int16.", _BOTH_STORAGES
)

CHANGES = (
    STORED_OTHERWISE,
    Change(
        "header rounded",
        "rewriting",
        "Three times every number of the affine off by up to 1e-6: of itself, or of 1 mm where it is smaller.",
        (HeadVariant(rounded_header),) * 3,
    ),
    Change(
        "header moved",
        "rewriting",
        "The affine moved by (30, -40, 25) mm; turned by 10 degrees about (1, 1, 1) and moved by (-12, 7, 9) mm.",
        (
            HeadVariant(moved_header(0.0, (1.0, 0.0, 0.0), (30.0, -40.0, 25.0))),
            HeadVariant(moved_header(10.0, (1.0, 1.0, 1.0), (-12.0, 7.0, 9.0))),
        ),
    ),
    Change(
        "axes in another order",
        "rewriting",
        "The array stored as (z, x, y), and as (y, z, x) with its first and third axis reversed.",
        (
            HeadVariant(stored_in_other_order((2, 0, 1), (False, False, False))),
            HeadVariant(stored_in_other_order((1, 2, 0), (True, False, True))),
        ),
    ),
    Change(
        "cut closer",
        "rewriting",
        "Cut to 10 mm of air around the head, and one voxel closer: along each axis in turn, and along all.",
        tuple(HeadVariant(cut_closer(more)) for more in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))),
    ),
    *(
        Change(
            f"noise, {share * 100:g} %",
            "rescan",
            f"Rician noise; sigma {share * 100:g} % of the 99th percentile in a voxel of 1 mm3, less in a larger one "
            "by the root of its volume.",
            (HeadVariant(noisier(share)),),
        )
        for share in (0.03, 0.06)
    ),
    *(
        Change(
            f"slices {more_mm:g} mm thicker",
            "rescan",
            f"Voxels longer by {more_mm:g} mm through the slices (the last axis where all are as long).",
            (HeadVariant(coarser_slices(more_mm)),),
        )
        for more_mm in (1.0, 2.0)
    ),
    *(
        Change(
            f"voxels {more_mm:g} mm longer",
            "rescan",
            f"Voxels longer by {more_mm:g} mm along every axis.",
            (HeadVariant(coarser_voxels(more_mm)),),
        )
        for more_mm in (1.0, 2.0)
    ),
    *(
        Change(
            f"turned about {name}",
            "rescan",
            f"The head turned by +10 and by -10 degrees about the axis from {name}, and shifted by 5 mm along each.",
            (HeadVariant(turned(10.0, axis, (5.0, -5.0, 5.0))), HeadVariant(turned(-10.0, axis, (-5.0, 5.0, -5.0)))),
        )
        for name, axis in AXES.items()
    ),
    Change(
        "uneven gain",
        "rescan",
        "One side of the image brighter by a factor of 1.5, in a direction of chance.",
        (HeadVariant(uneven_gain(1.5)),),
    ),
)
