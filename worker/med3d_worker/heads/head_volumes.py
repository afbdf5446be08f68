"""A head, its brain, what ageing changes and the template as NIfTI files, all placed in the scanner's space."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import nibabel as nib
import numpy as np

from med3d_contract.volumes import VolumeName
from med3d_pipeline.errors import InputRefused, PipelineError
from med3d_pipeline.explanation.explainer import STEP_YEARS
from med3d_pipeline.inference.encoder import Float32
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.connected_parts import Mask
from med3d_pipeline.preprocessing.defacing import deface
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.preprocess import BrainFound
from med3d_pipeline.study.study import load_series, read_study
from med3d_pipeline.volume import Affine, Volume
from med3d_worker.heads.tensors import TensorRecord

FASTEST = 1
"""zlib's level: somebody waits, and the next ones save little (0.1 of the bytes for four times the time)."""
WINDOW_PERCENT = (1.0, 99.5)
"""Of the brain, else of the image: what a viewer shows white at first, and black where no brain says it."""
INT16 = np.iinfo(np.int16)


class FindsBrains(Protocol):
    """The part of med3d_pipeline's Preprocessor that is needed here."""

    @property
    def template(self) -> Template:
        """Where every head is aligned to."""
        ...

    @property
    def tensor_grid(self) -> Affine:
        """(4, 4) map from a tensor's voxels to the template's RAS+ mm."""
        ...

    def find_brain(self, volume: Volume) -> BrainFound:
        """Find the brain. Raises InputRefused where there is none."""
        ...


class Ages(Protocol):
    """The part of med3d_pipeline's Explainer that is needed here."""

    def latent(self, tensor: Float32) -> Float32:
        """Return the latent (d,) of a head (X, Y, Z)."""
        ...

    def differences(self, latent: Float32, steps_years: tuple[float, ...]) -> Float32:
        """Return what changes (len(steps), X, Y, Z) where it ages by each step. Raises InferenceError."""
        ...


class MakesVolumes(Protocol):
    """``HeadVolumes``, or a test's stand-in."""

    def __call__(self, folder: Path, label: str, record: TensorRecord | None) -> Mapping[VolumeName, bytes]:
        """Make the volumes of a series of the study in ``folder``. Raises PipelineError."""
        ...


@dataclass(frozen=True)
class HeadVolumes:
    """Makes what a viewer shows. ``explainer``: None where the bundle has no decoder, and no change is shown.

    deface: the head's face is taken away; of one without a brain nothing is left.
    """

    preprocessor: FindsBrains
    explainer: Ages | None
    deface: bool = False

    def __call__(self, folder: Path, label: str, record: TensorRecord | None) -> dict[VolumeName, bytes]:
        """Make the volumes of the series ``label``; a brain that is not found, as of a refused head, is left out.

        Raises InputRefused where the series cannot be read.
        """
        head = to_closest_ras(load_series(read_study([folder]), label).volume)
        brain = self._brain(head)
        made = {VolumeName.HEAD: nifti_of_head(self._shown(head, brain, record), _window(head, brain))}
        if brain is not None:
            made[VolumeName.BRAIN] = nifti_of_mask(brain.mask, head.affine)
        if record is None:
            return made
        change = self._change(record)
        if change is not None:
            made[VolumeName.CHANGE] = change
        return made | {VolumeName.TEMPLATE: nifti_of_template(self.preprocessor.template.brain, record)}

    def _shown(self, head: Volume, brain: BrainFound | None, record: TensorRecord | None) -> Volume:
        if not self.deface:
            return head
        mask = np.zeros(head.shape, dtype=np.uint8) if brain is None else brain.mask
        return deface(head, mask, None if record is None else record.template_to_native)

    def _brain(self, head: Volume) -> BrainFound | None:
        try:
            return self.preprocessor.find_brain(head)
        except InputRefused:
            return None

    def _change(self, record: TensorRecord) -> bytes | None:
        """Place what STEP_YEARS more change, on the tensor's grid, where the head lies; viewers resample it."""
        if self.explainer is None:
            return None
        try:
            [change] = self.explainer.differences(self.explainer.latent(record.tensor), (STEP_YEARS,))
        except PipelineError:
            return None
        image = nib.Nifti1Image(change.astype(np.float32), record.template_to_native @ self.preprocessor.tensor_grid)
        return _packed(image)


def nifti_of_head(head: Volume, window: tuple[float, float]) -> bytes:
    """Write a head as 16-bit integers: exactly where its values are such, else evenly over its range."""
    voxels = np.nan_to_num(head.voxels, nan=0.0, posinf=0.0, neginf=0.0)
    lowest, highest = float(voxels.min()), float(voxels.max())
    slope, offset = 1.0, 0.0
    if not (lowest >= INT16.min and highest <= INT16.max and np.array_equal(voxels, np.rint(voxels))):
        slope = max((highest - lowest) / (int(INT16.max) - int(INT16.min)), float(np.finfo(np.float32).tiny))
        offset = lowest - slope * int(INT16.min)
    stored = np.clip(np.rint((voxels - offset) / slope), INT16.min, INT16.max).astype(np.int16)
    image = nib.Nifti1Image(stored, head.affine)
    image.header.set_slope_inter(slope, offset)
    image.header["cal_min"], image.header["cal_max"] = window
    return _packed(image)


def nifti_of_mask(mask: Mask, affine: Affine) -> bytes:
    """Write a mask (1 = brain) on the grid of its head."""
    return _packed(nib.Nifti1Image(mask, affine))


def nifti_of_template(brain: Volume, record: TensorRecord) -> bytes:
    """Place the template's brain, in 256 steps, where the head lies: it shows how well the head was aligned."""
    brightest = max(float(brain.voxels.max()), float(np.finfo(np.float32).tiny))
    steps = np.clip(np.rint(brain.voxels / brightest * 255), 0, 255).astype(np.uint8)
    return _packed(nib.Nifti1Image(steps, record.template_to_native @ brain.affine))


def _window(head: Volume, brain: BrainFound | None) -> tuple[float, float]:
    """Choose what is shown black and white at first: black, and the brain's brightest; (0, 0) of an even image."""
    shown = head.voxels[::2, ::2, ::2] if brain is None else head.voxels[brain.mask > 0]
    shown = shown[np.isfinite(shown)]
    if not shown.size:
        return (0.0, 0.0)
    lowest, highest = (float(one) for one in np.percentile(shown, WINDOW_PERCENT))
    lowest = lowest if brain is None else brain.black.black
    return (lowest, highest) if highest > lowest else (0.0, 0.0)


def _packed(image: nib.Nifti1Image) -> bytes:
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), FASTEST, mtime=0)
