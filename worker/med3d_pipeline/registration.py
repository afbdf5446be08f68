"""Affine alignment of a brain to the template's."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.itk_images import from_transform, image_of, to_image, to_transform
from med3d_pipeline.resampling import FWHM_PER_SIGMA, prefilter, resample
from med3d_pipeline.spec import RegistrationLevel, RegistrationSpec
from med3d_pipeline.template import Template
from med3d_pipeline.volume import Affine, Volume


@dataclass(frozen=True)
class Alignment:
    """template_to_native: (4, 4) float64 map of RAS+ mm. similarity: correlation with the template, 1 = equal."""

    template_to_native: Affine
    similarity: float


def register_affine(brain: Volume, template: Template, spec: RegistrationSpec) -> Alignment:
    """Align ``brain`` (bias-corrected, zero outside the brain) to the template's brain.

    Starts with the centres of mass on each other, then maximises the correlation level by level, every voxel of the
    level's grid taking part: nothing is drawn at random. Raises InputRefused("registration_failed") when it does not
    end in an alignment.
    """
    moving = image_of(_coarse(brain, spec.moving_grid_mm))
    centre = _centre_of_mass(template.brain)
    transform = to_transform(_shift(_centre_of_mass(brain) - centre))
    transform.SetCenter((np.array([-1, -1, 1]) * centre).tolist())
    similarity = 0.0
    try:
        for level in spec.levels:
            transform, similarity = _run_level(level, template, moving, transform)
    except RuntimeError as error:
        raise registration_failed() from error
    return Alignment(template_to_native=from_transform(transform), similarity=similarity)


def registration_failed() -> InputRefused:
    """What is said when a brain cannot be aligned."""
    return InputRefused(
        "registration_failed",
        "The brain could not be aligned to the template. Send a T1-weighted MRI of one whole, upright head.",
    )


def _run_level(
    level: RegistrationLevel, template: Template, moving: sitk.Image, start: sitk.AffineTransform
) -> tuple[sitk.AffineTransform, float]:
    fixed = image_of(_coarse(template.brain, level.grid_mm))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([1])
    method.SetSmoothingSigmasPerLevel([0.0])
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=level.iterations, relaxationFactor=0.5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    blurred = sitk.SmoothingRecursiveGaussian(moving, level.blur_mm) if level.blur_mm else moving
    if level.blur_mm:
        fixed = sitk.SmoothingRecursiveGaussian(fixed, level.blur_mm)
    moved = sitk.AffineTransform(start)
    if level.model == "similarity":
        similarity = sitk.Similarity3DTransform()
        similarity.SetCenter(start.GetCenter())
        similarity.SetTranslation(start.GetTranslation())
        method.SetInitialTransform(similarity, inPlace=True)
        method.Execute(fixed, blurred)
        moved.SetMatrix(similarity.GetMatrix())
        moved.SetTranslation(similarity.GetTranslation())
    else:
        method.SetInitialTransform(moved, inPlace=True)
        method.Execute(fixed, blurred)
    return moved, -float(method.GetMetricValue())


def _coarse(volume: Volume, grid_mm: float) -> Volume:
    blurred = prefilter(volume, grid_mm)
    affine = volume.affine.copy()
    factors = np.maximum(1.0, grid_mm / np.array(volume.spacing_mm))
    shape = np.ceil(np.array(volume.shape) / factors).astype(int)
    affine[:3, :3] = volume.affine[:3, :3] * factors
    affine[:3, 3] += volume.affine[:3, :3] @ ((factors - 1) / 2)
    return Volume(voxels=resample(blurred, (shape[0], shape[1], shape[2]), affine, np.eye(4)), affine=affine)


def _centre_of_mass(volume: Volume) -> np.ndarray:
    weights = np.maximum(volume.voxels, 0.0).astype(np.float64)
    total = weights.sum()
    if not total > 0:
        raise registration_failed()
    sums = [weights.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    centre = np.array([(s * np.arange(s.size)).sum() / total for s in sums])
    return volume.affine[:3, :3] @ centre + volume.affine[:3, 3]


def _shift(offset_mm: np.ndarray) -> Affine:
    shift = np.eye(4)
    shift[:3, 3] = offset_mm
    return shift
