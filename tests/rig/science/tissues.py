"""A brain of three tissues on the tensor's grid, in the brightness of any contrast."""

import numpy as np
import SimpleITK as sitk

from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.spec import PreprocessSpec
from med3d_pipeline.volume import Volume, Voxels

# Of fluid, grey and white matter (labels 1 to 3).
BRIGHTNESS = {
    "t1": (0.25, 0.70, 1.00),
    "t1_with_contrast_agent": (0.30, 0.85, 1.00),
    "t2": (2.00, 1.00, 0.75),
    "flair": (0.10, 1.00, 0.92),
    "proton_density": (0.95, 1.00, 0.86),
    "negative": (1.10, 0.65, 0.35),
    "infant": (0.30, 1.00, 0.85),
}
NOISE = 0.04


def _smooth_field(shape: tuple[int, int, int], seed: int) -> Voxels:
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    field = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 2.0))
    return np.asarray(field / field.std(), dtype=np.float32)


def tissue_labels(spec: PreprocessSpec) -> np.ndarray:
    """0 outside, 1 fluid, 2 grey, 3 white matter: folded as a smooth random field is, in a ball that fills the grid."""
    distance = np.sqrt(sum((np.indices(spec.shape)[axis] - (spec.shape[axis] - 1) / 2) ** 2 for axis in range(3)))
    field = _smooth_field(spec.shape, 11)
    labels = 1 + (field > -1.0).astype(int) + (field > 0.0)
    return np.where(distance < 0.42 * min(spec.shape), labels, 0)


def with_brightness(labels: np.ndarray, contrast: str, seed: int = 5) -> Voxels:
    """The tissues as bright as ``contrast`` shows them, and a little noise."""
    noise = np.random.default_rng(seed).normal(0, NOISE, labels.shape)
    bright = np.array([0.0, *BRIGHTNESS[contrast]])[labels]
    return np.where(labels > 0, np.maximum(bright + noise, 0.01), 0).astype(np.float32)


def tissue_template(spec: PreprocessSpec | None = None) -> Template:
    """A template in T1 contrast whose grid is the tensor's."""
    spec = spec or PreprocessSpec()
    labels = tissue_labels(spec)
    affine = np.diag([spec.spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -spec.spacing_mm * (np.array(spec.shape) - 1) / 2
    template = Template(
        brain=Volume(with_brightness(labels, "t1", seed=6), affine),
        mask=Volume((labels > 0).astype(np.float32), affine),
    )
    assert np.allclose(grid_affine(template, spec), affine, atol=spec.spacing_mm)
    return template
