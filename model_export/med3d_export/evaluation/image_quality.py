"""How alike a head and its reconstruction are: SSIM and PSNR with window and range stated, whole and inside the brain.

SSIM is Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP 2004) with a
Gaussian window of 1.5 voxels (11 wide) in three dimensions, K1 = 0.01, K2 = 0.03, as MONAI computes it. Outside the
brain the tensors are zero and so are good reconstructions, which makes both measures over the whole volume flattering:
the paper's figures (SSIM 0.750, PSNR 24.91 dB) do not say what volume, window or range they are of.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.regression import compute_ssim_and_cs

Tensors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

WINDOW = 11
SIGMA_VOXELS = 1.5


@dataclass(frozen=True, eq=False)
class ImageQuality:
    """Per head, (N,) each. SSIM without unit, PSNR in dB; ``brain``: over the voxels of the mask only."""

    ssim_whole: Floats
    ssim_brain: Floats
    psnr_whole: Floats
    psnr_brain: Floats


def image_quality(found: Tensors, expected: Tensors, brain: Mask, data_range: float) -> ImageQuality:
    """Compare reconstructions ``found`` with heads ``expected``, (N, X, Y, Z) each.

    brain: (X, Y, Z), the voxels that count as brain for all heads. data_range: the distance from the darkest to the
    brightest value that a tensor may hold; both measures depend on it. Raises ValueError where shapes differ, the mask
    is empty or an axis is shorter than the window.
    """
    if found.shape != expected.shape or brain.shape != expected.shape[1:]:
        raise ValueError(f"shapes differ: {found.shape}, {expected.shape}, mask {brain.shape}")
    if not brain.any() or min(brain.shape) < WINDOW:
        raise ValueError(f"the brain mask must not be empty nor an axis of {brain.shape} shorter than {WINDOW}")
    inner = tuple(slice(WINDOW // 2, size - WINDOW // 2) for size in brain.shape)
    similarity = [_similarity(one, other, data_range) for one, other in zip(found, expected, strict=True)]
    squared = [np.square(one.astype(np.float64) - other) for one, other in zip(found, expected, strict=True)]
    return ImageQuality(
        ssim_whole=np.array([local.mean() for local in similarity]),
        ssim_brain=np.array([local[brain[inner]].mean() for local in similarity]),
        psnr_whole=_decibels(np.array([error.mean() for error in squared]), data_range),
        psnr_brain=_decibels(np.array([error[brain].mean() for error in squared]), data_range),
    )


def _similarity(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], data_range: float) -> Floats:
    """Return local SSIM of every voxel whose window lies inside the volume: WINDOW - 1 fewer along each axis."""
    one, other = (torch.tensor(image)[None, None] for image in (found, expected))
    with torch.no_grad():
        local, _ = compute_ssim_and_cs(
            one, other, spatial_dims=3, kernel_size=(WINDOW,) * 3, kernel_sigma=(SIGMA_VOXELS,) * 3,
            data_range=data_range, kernel_type="gaussian",
        )  # fmt: skip
    return np.asarray(local[0, 0].numpy(), dtype=np.float64)


def _decibels(mean_squared_error: Floats, data_range: float) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(data_range**2 / mean_squared_error), dtype=np.float64)
