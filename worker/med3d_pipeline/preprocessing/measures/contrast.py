"""Whether a brain's tissues differ in brightness as they do in T1 contrast, whatever the headers say.

A correlation over the whole template counts the background, which is dark in every contrast: a FLAIR reaches 0.97. So
the tissues are compared inside the brain, well away from its surface, where white matter is the brightest in T1
contrast alone. The correlation leaves out what is as dark as fluid: where ventricles have grown, the template shows
white matter. The medians do not: in a T2-weighted image the darkest is white matter itself.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.itk_images import to_array, to_image
from med3d_pipeline.preprocessing.resampling import coarsen, sample_linear
from med3d_pipeline.preprocessing.spec import PreprocessSpec
from med3d_pipeline.volume import Voxels

Flags = npt.NDArray[np.bool_]

# Fluid and vessels around the brain, and what another alignment would place there, are not compared.
SURFACE_MM = 6.0
TISSUES = 3  # fluid, grey and white matter, in order of brightness
SPREAD_PERCENTILES = (5.0, 95.0)


@dataclass(frozen=True, eq=False)
class TemplateTissues:
    """Where the template shows which tissue, on the grid of the tensor.

    brightness: (X, Y, Z) float32, the template. inside: (X, Y, Z) bool, brain at least SURFACE_MM from its surface;
    grey and white: what of it is brighter than fluid, parted in two.
    """

    brightness: Voxels
    inside: Flags
    grey: Flags
    white: Flags


def find_tissues(template: Template, spec: PreprocessSpec) -> TemplateTissues:
    """Part the inside of the template's brain by its own brightness, at the two thresholds of Otsu's method."""
    grid = grid_affine(template, spec)
    onto = (spec.shape, grid, np.eye(4))
    brightness, brain = (
        sample_linear(coarsen(image, spec.spacing_mm), *onto) for image in (template.brain, template.mask)
    )
    whole = to_image((brain > 0.5).astype(np.uint8), grid)
    inside = to_array(sitk.BinaryErode(whole, [round(SURFACE_MM / spec.spacing_mm)] * 3)) > 0
    fluid_below, white_above = part_by_brightness(brightness[inside])
    white = inside & (brightness > white_above)
    return TemplateTissues(brightness, inside, inside & (brightness > fluid_below) & ~white, white)


def measure_contrast(tensor: Voxels, tissues: TemplateTissues) -> dict[str, float]:
    """Measure by name. No gain and no offset of the brightness changes them.

    white_over_grey: the medians' distance, white above grey, in units of the brain's range of brightness (5th to 95th
    percentile); 0.29 in the template itself, negative where grey matter is the brighter.
    tissue_correlation: of brightness with the template's over grey and white matter, but for the darkest third of
    Otsu's parts.
    """
    inside = tensor[tissues.inside]
    low, high = (float(value) for value in np.percentile(inside, SPREAD_PERCENTILES))
    if not high > low:
        return {"white_over_grey": math.nan, "tissue_correlation": math.nan}
    white, grey = (float(np.median(tensor[tissue])) for tissue in (tissues.white, tissues.grey))
    darkest, _ = part_by_brightness(inside)
    either = (tissues.white | tissues.grey) & (tensor > darkest)
    correlation = np.corrcoef(tensor[either], tissues.brightness[either])[0, 1] if either.any() else math.nan
    return {"white_over_grey": (white - grey) / (high - low), "tissue_correlation": float(correlation)}


def part_by_brightness(voxels: Voxels) -> tuple[float, float]:
    """Return the two thresholds of Otsu's method that part ``voxels`` (N,) in TISSUES."""
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(TISSUES - 1)
    otsu.Execute(sitk.GetImageFromArray(voxels[None]))
    low, high = otsu.GetThresholds()
    return low, high
