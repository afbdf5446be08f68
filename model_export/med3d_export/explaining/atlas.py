"""Groups of regions on a model's grid, from label maps of heads that are registered as the worker registers them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from med3d_export.explaining.region_groups import GROUPS, WHITE_MATTER, group_of_labels
from med3d_export.subjects.tensor_cache import read_volume
from med3d_pipeline.bundle.bundle import PreprocessingAssets
from med3d_pipeline.explanation.region_table import VENTRICLES
from med3d_pipeline.preprocessing.alignment.registration import AffineRegistration
from med3d_pipeline.preprocessing.alignment.template import grid_affine
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.resampling import sample_linear
from med3d_pipeline.volume import Volume

MAY_BE_VENTRICLE = 0.1
"""Share of the labelled heads: where a voxel is ventricle in so many, ventricles grow to, and the group holds it."""
SURELY = 0.9
"""Share of a voxel that must be of one tissue for its brightness to be that tissue's."""
SUFFIX = "_DLMUSE.nii.gz"
Shares = npt.NDArray[np.float32]


class LabelMapError(Exception):
    """Label maps cannot be used; the message names the map and what to give instead."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """labels: (X, Y, Z) uint8, see RegionTable; fluid_threshold: midway between ventricles and white matter."""

    labels: npt.NDArray[np.uint8]
    fluid_threshold: float


def labelled_rows(participants: Sequence[str], folder: Path) -> dict[int, Path]:
    """Return the label map of each row of the cohort that has one.

    Raises LabelMapError where none has, or one is of a person with several scans: nothing says of which scan it is.
    """
    places = {row: folder / f"{participant}{SUFFIX}" for row, participant in enumerate(participants)}
    found = {row: place for row, place in places.items() if place.is_file()}
    if not found:
        raise LabelMapError(f"no participant of the manifest has a label map PARTICIPANT{SUFFIX} in {folder.name}")
    scans = Counter(participants)
    several = [participants[row] for row in found if scans[participants[row]] > 1]
    if several:
        raise LabelMapError(
            f"{several[0]} has {scans[several[0]]} scans, and {several[0]}{SUFFIX} may be of one of them alone: "
            "leave the others out of the manifest"
        )
    return found


def make_atlas(
    heads: Sequence[tuple[Path, Path, Shares]], assets: PreprocessingAssets, on_done: Callable[[], object]
) -> Atlas:
    """Average the groups of heads: (image, label map, tensor) of each. Raises LabelMapError, InputRefused."""
    template, spec = assets.template, assets.file.spec
    register, grid = AffineRegistration(template, spec.registration), grid_affine(template, spec)
    total = np.zeros((len(GROUPS), *spec.shape), dtype=np.float64)
    fluid, white = [], []
    for image, label_map, tensor in heads:
        head, groups = _read(image, label_map)
        aligned = register(Volume(head.voxels * (groups.voxels > 0), head.affine))
        shares = np.stack(
            [
                sample_linear(
                    Volume((groups.voxels == number).astype(np.float32), head.affine),
                    spec.shape,
                    grid,
                    aligned.template_to_native,
                )
                for number in range(1, len(GROUPS) + 1)
            ]
        )
        total += shares
        fluid.append(tensor[shares[_at(VENTRICLES)] > SURELY])
        white.append(tensor[shares[_at(WHITE_MATTER)] > SURELY])
        on_done()
    threshold = 0.5 * (float(np.median(np.concatenate(fluid))) + float(np.median(np.concatenate(white))))
    return Atlas(_likeliest(total / len(heads)), threshold)


def _read(image: Path, label_map: Path) -> tuple[Volume, Volume]:
    """Return the head, and each voxel's group as float32: brain that belongs to none is beyond the last."""
    head, labels = to_closest_ras(read_volume(image)), to_closest_ras(read_volume(label_map))
    if head.shape != labels.shape or not np.allclose(head.affine, labels.affine, atol=1e-3):
        raise LabelMapError(f"{label_map.name} lies on another grid than its head; give the map on the head's own grid")
    values = labels.voxels.astype(np.int64)
    if values.min() < 0 or values.max() > 255:
        raise LabelMapError(f"{label_map.name} holds labels beyond 255; give DLMUSE's own numbers")
    groups = np.where(values > 0, len(GROUPS) + 1.0, 0.0)
    known = group_of_labels()[values]
    return head, Volume(np.where(known > 0, known, groups).astype(np.float32), labels.affine)


def _likeliest(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Return each voxel's likeliest group, the nearest where none is likely: outer fluid goes to its lobe."""
    labels = shares.argmax(axis=0).astype(np.uint8) + 1
    labels[shares[_at(VENTRICLES)] >= MAY_BE_VENTRICLE] = _at(VENTRICLES) + 1
    unsure = shares.sum(axis=0) < 0.5
    nearest = distance_transform_edt(unsure, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)], dtype=np.uint8)


def _at(name: str) -> int:
    return list(GROUPS).index(name)
