"""The codes with which reading refuses, in the order in which they win (the table in docs/refusals.md)."""

from collections.abc import Iterable
from dataclasses import dataclass

from med3d_pipeline.errors import InputRefused

READING_CODES: tuple[str, ...] = (
    "unknown_series",
    "no_images",
    "unsupported_format",
    "unreadable_file",
    "several_patients",
    "nifti_unreadable",
    "nifti_truncated",
    "nifti_not_one_volume",
    "nifti_no_affine",
    "nifti_forms_disagree",
    "label_image",
    "not_mr",
    "secondary_capture",
    "burned_in_text",
    "unsupported_colour",
    "no_t1w_series",
    "derived_only",
    "no_pixel_data",
    "truncated_pixel_data",
    "undecodable_pixel_data",
    "compressed_size_disagrees",
    "too_large",
    "series_uid_per_slice",
    "invalid_geometry",
    "mixed_orientation",
    "mixed_size",
    "duplicate_slices",
    "missing_slices",
    "uneven_spacing",
    "gantry_tilt",
    "several_acquisitions",
    "through_plane_too_coarse",
    "in_plane_too_coarse",
    "insufficient_coverage",
    "several_images",
)
"""Within a series the first code wins. Between the series of a study see series_selection."""

ALLOWED_BY_HAND = frozenset(
    {
        "not_mr",
        "secondary_capture",
        "burned_in_text",
        "no_t1w_series",
        "derived_only",
        "through_plane_too_coarse",
        "in_plane_too_coarse",
        "insufficient_coverage",
        "several_images",
    }
)
"""What a person may overrule by choosing the series: all that headers say of it. Else there is no volume to analyse.

The voxels are judged whoever chose: contrast and quality are overruled by nobody.
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a series cannot be used: a code of ``READING_CODES`` and a sentence for its sender."""

    code: str
    reason: str

    def refusal(self) -> InputRefused:
        """Return the same as an exception."""
        return InputRefused(self.code, self.reason)


def first_fault(faults: Iterable[Fault]) -> Fault | None:
    """Return the fault whose code wins, or None where there is none."""
    return min(faults, key=lambda fault: precedence(fault.code), default=None)


def precedence(code: str) -> int:
    """Return the place of ``code`` in the documented order; 0 wins over all others."""
    return READING_CODES.index(code)


def is_damage(code: str) -> bool:
    """Tell whether ``code`` says that images are broken or missing, so that sending them again may help."""
    return precedence("derived_only") < precedence(code) < precedence("through_plane_too_coarse")


def passed_contrast(code: str) -> bool:
    """Tell whether a series refused with ``code`` looked T1-weighted, or at least not otherwise."""
    return precedence(code) > precedence("no_t1w_series")
