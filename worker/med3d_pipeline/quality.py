"""Whether an image is a head that the model may be asked about."""

from dataclasses import dataclass

import numpy as np

from med3d_pipeline.brain_extraction import Mask
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.registration import Alignment
from med3d_pipeline.resampling import resample
from med3d_pipeline.spec import Limits, QualityLimits
from med3d_pipeline.template import Template
from med3d_pipeline.volume import Volume


def check_image(volume: Volume) -> None:
    """Raise InputRefused("not_finite" or "constant_image") for voxels that no step can work with."""
    if not np.isfinite(volume.voxels).all():
        raise InputRefused(
            "not_finite", "The image holds voxels that are not numbers. Send the scanner's image as it was stored."
        )
    if volume.voxels.min() == volume.voxels.max():
        raise InputRefused("constant_image", "All voxels of the image are equal. Send an image with contrast.")


def measure_quality(
    native: Volume, mask: Mask, share: Volume, alignment: Alignment, template: Template
) -> dict[str, float]:
    """The measures that ``judge_quality`` holds against the bundle's limits, by name."""
    linear = np.linalg.inv(alignment.template_to_native)[:3, :3]
    stretch = np.linalg.svd(linear, compute_uv=False)
    moved = resample(share, template.mask.shape, template.mask.affine, alignment.template_to_native) > 0.5
    fixed = template.mask.voxels > 0.5
    voxel_ml = abs(np.linalg.det(native.affine[:3, :3])) / 1000
    return {
        "brain_volume_ml": float(mask.sum(dtype=np.int64) * voxel_ml),
        "template_overlap": float(2 * (moved & fixed).sum() / (moved.sum() + fixed.sum())),
        "registration_similarity": alignment.similarity,
        "affine_determinant": float(np.linalg.det(linear)),
        "affine_anisotropy": float(stretch[0] / stretch[-1]),
    }


@dataclass(frozen=True)
class QualityVerdict:
    """failed: names of measures outside the refusing limits. refusal: what to tell the sender, if anything failed."""

    failed: tuple[str, ...]
    refusal: InputRefused | None
    review_reasons: tuple[str, ...]


def judge_quality(measures: dict[str, float], limits: QualityLimits) -> QualityVerdict:
    """Hold ``measures`` against ``limits``."""
    failed = tuple(name for name, limit in limits.refuse.items() if not _within(measures[name], limit))
    review = tuple(name for name, limit in limits.review.items() if not _within(measures[name], limit))
    refusal = InputRefused("not_a_head", f"Not like a head: {', '.join(failed)}.") if failed else None
    return QualityVerdict(failed=failed, refusal=refusal, review_reasons=review)


def _within(value: float, limit: Limits) -> bool:
    low, high = limit
    return np.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
