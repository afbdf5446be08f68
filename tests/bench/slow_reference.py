"""The same head aligned without haste: ITK's own registration, and N4 on every second voxel of the working grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from med3d_pipeline.preprocessing.alignment.registration import centre_of_mass
from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.bias_field import correct_bias_field
from med3d_pipeline.preprocessing.itk_images import RAS_TO_LPS, image_of, to_transform
from med3d_pipeline.preprocessing.itk_threads import itk_threads
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.preprocessing.resampling import coarsen
from med3d_pipeline.preprocessing.working_views import View
from med3d_pipeline.volume import Affine, Volume, Voxels

N4_GRID_MM = 4.0


@dataclass(frozen=True, eq=False)
class SlowResult:
    """corrected: views of the head. template_to_native: (4, 4), RAS+ mm. tensor: as the pipeline makes it of both."""

    corrected: Sequence[View]
    template_to_native: Affine
    tensor: Voxels


def slow_reference(preprocess: Preprocessor, head: Volume) -> SlowResult:
    """N4 with the spec's iterations on a finer grid; the correlation climbed by ITK's conjugate gradients to 2 mm."""
    spec = preprocess.spec
    with itk_threads(preprocess.threads):
        n4 = spec.bias_field.model_copy(update={"grid_mm": N4_GRID_MM})
        corrected = correct_bias_field(preprocess.views(preprocess.find_brain(head)), n4)
    first = corrected[0]
    aligned = climb(Volume(first.head.voxels * first.share.voxels, first.head.affine), preprocess.template)
    grid = grid_affine(preprocess.template, spec)
    return SlowResult(corrected, template_to_native=aligned, tensor=preprocess.tensor(corrected, grid, aligned))


def climb(brain: Volume, template: Template) -> Affine:
    """ITK's affine from the centres of mass: similarity at 8 mm, affine at 4 and at 2 mm, until it climbs no more."""
    centre = centre_of_mass(template.brain)
    start = np.eye(4)
    start[:3, 3] = centre_of_mass(brain) - centre
    transform = to_transform(start)
    transform.SetCenter((RAS_TO_LPS[:3, :3] @ centre).tolist())
    similarity = sitk.Similarity3DTransform()
    similarity.SetCenter(transform.GetCenter())
    similarity.SetTranslation(transform.GetTranslation())
    _maximise(similarity, brain, template, grid_mm=8.0, sigma_mm=4.0)
    transform.SetMatrix(similarity.GetMatrix())
    transform.SetTranslation(similarity.GetTranslation())
    for grid_mm, sigma_mm in ((4.0, 2.0), (2.0, 1.0)):
        _maximise(transform, brain, template, grid_mm=grid_mm, sigma_mm=sigma_mm)
    return _as_ras(transform)


def _maximise(transform: sitk.Transform, brain: Volume, template: Template, *, grid_mm: float, sigma_mm: float) -> None:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsConjugateGradientLineSearch(
        learningRate=1.0, numberOfIterations=60, convergenceMinimumValue=1e-8, convergenceWindowSize=10
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    fixed, moving = image_of(coarsen(template.brain, grid_mm)), image_of(brain)
    method.Execute(*(sitk.SmoothingRecursiveGaussian(one, sigma_mm) for one in (fixed, moving)))


def _as_ras(transform: sitk.Transform) -> Affine:
    lps = np.eye(4)
    lps[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        lps[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - lps[:3, 3]
    return RAS_TO_LPS @ lps @ RAS_TO_LPS


def worst_corner_mm(first: Affine, second: Affine, template: Template) -> float:
    """The farthest that two alignments lie apart at a corner of the box around the template's brain."""
    held = np.argwhere(template.mask.voxels > 0.5)
    low, high = held.min(axis=0), held.max(axis=0)
    corners = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] + [1] for bit in range(8)]).T
    places = template.mask.affine @ corners
    return float(np.linalg.norm(((first - second) @ places)[:3], axis=0).max())


def normalised_rmse(found: Voxels, expected: Voxels) -> float:
    """Root mean square of the difference over that of the expected values."""
    difference = found.astype(np.float64) - expected
    return float(np.sqrt((difference**2).mean() / (expected.astype(np.float64) ** 2).mean()))
