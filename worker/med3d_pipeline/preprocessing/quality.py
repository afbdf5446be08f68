"""Whether an image is a head that the model may be asked about."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.spec import Limits, QualityLimits
from med3d_pipeline.reasons import Reason, ReviewCode


@dataclass(frozen=True)
class _Verdict:
    """A code, the measures that lead to it, and what to tell the sender."""

    code: str
    measures: frozenset[str]
    reason: str
    only_below: float = math.inf

    def explains(self, failed: Iterable[str], measures: Mapping[str, float]) -> bool:
        """Tell whether a measure of this verdict failed, and by enough to explain the others that did."""
        return any(not measures.get(name, math.nan) >= self.only_below for name in self.measures.intersection(failed))


NOT_T1 = (
    "The brain's white matter is not brighter than its grey matter, as it is in a T1-weighted image of an adult. "
    "T2-weighted, FLAIR and proton-density images look so, and so do smooth masks, some phantoms, and the brains of "
    "infants, for whom the model was not made. Send the T1-weighted series of the study; if this is it, its brightness "
    "was altered: send it as the scanner wrote it."
)
# White matter darker than grey by this share: T1-weighted heads are above 0, even cut or turned over (-0.003).
CLEARLY_DARKER = -0.01
# Half a head is as alike the template as 0.86, a fruit 0.66.
CLEARLY_UNLIKE = 0.8
NO_HEAD = (
    "No brain in T1-weighted contrast was found where the image's orientation says that it is: the image shows "
    "something else, such as a phantom or another body part, or its axes are not those that the file states. Send a "
    "T1-weighted MRI of a whole head with the orientation that the scanner wrote."
)

# Above its black the middle of a brain that was cut out is 0, whatever noise is around.
NO_SIGNAL = 1e-6

# In the order in which they win: what explains the other measures comes first.
_VERDICTS = (
    _Verdict(
        "brain_blank",
        frozenset({"signal_to_noise"}),
        "Where the brain should be the image holds no signal: the brain was cut out or set to zero, such as by a mask "
        "that was applied the wrong way round. Send the whole head, as the scanner reconstructed it.",
        only_below=NO_SIGNAL,
    ),
    _Verdict(
        "too_noisy",
        frozenset({"signal_to_noise"}),
        "Neighbouring voxels inside what should be the brain differ by too much to tell the brain's tissues apart: the "
        "image is nearly all noise, or shows no head but fine structure, such as a phantom's grid. Send a T1-weighted "
        "MRI of a whole head, as the scanner reconstructed it.",
    ),
    _Verdict(
        "blank_slices",
        frozenset({"blank_slices_mm"}),
        "Slices in the middle of the head hold no signal at all: they were lost on the way, or filled with zeros. Send "
        "the complete series again.",
    ),
    _Verdict("not_a_head", frozenset({"contrast_to_noise"}), NO_HEAD),
    _Verdict("not_a_head", frozenset({"registration_similarity"}), NO_HEAD, only_below=CLEARLY_UNLIKE),
    _Verdict("not_t1_weighted_voxels", frozenset({"white_over_grey"}), NOT_T1, only_below=CLEARLY_DARKER),
    _Verdict(
        "brain_cut_off",
        frozenset({"template_outside_view", "brain_at_edge_cm2", "brain_at_removed_face_cm2"}),
        "Part of the brain lies outside the image, or was set to zero in it. Send a scan that covers the whole head, "
        "from the crown to below the cerebellum, as the scanner reconstructed it.",
    ),
    _Verdict(
        "wrong_orientation",
        frozenset({"gain_by_turning"}),
        "The head does not lie as the file says: back for front or top for bottom it fits the template better. The "
        "orientation was lost or changed in a conversion. Send the scanner's DICOM images, or convert them again and "
        "keep the orientation that they state.",
    ),
    _Verdict("not_a_head", frozenset({"template_overlap"}), NO_HEAD),
    _Verdict("not_t1_weighted_voxels", frozenset({"white_over_grey", "tissue_correlation"}), NOT_T1),
    # After the contrast: a T2-weighted head is alike the template in shape alone, which another sentence explains.
    _Verdict("not_a_head", frozenset({"registration_similarity"}), NO_HEAD),
    _Verdict(
        "brightness_altered",
        frozenset({"clipped_bright_share", "clipped_dark_share"}),
        "The brightness was changed after the scan: it was cut off above or below, as by the window of a display. Send "
        "the series as the scanner reconstructed it, with its full range of brightness.",
    ),
    _Verdict(
        "ghosting",
        frozenset({"ghost_share"}),
        "A fainter copy of the head lies in the air beside it, and over the brain: a ghost, as motion, pulsation "
        "and faults of a scanner leave it, or a second image. Send another T1-weighted series, or repeat the scan.",
    ),
    _Verdict(
        "brain_volume_implausible",
        frozenset({"brain_volume_ml"}),
        "The brain that was found is not of a plausible size for an adult. Check the image's voxel size, and send a "
        "T1-weighted MRI of a whole adult head.",
    ),
    _Verdict(
        "registration_failed",
        frozenset({"affine_determinant", "affine_anisotropy"}),
        "The brain could not be aligned to the template without distorting it. Send a T1-weighted MRI of one whole "
        "adult head.",
    ),
)

MEASURE_WORDS = {
    "brain_volume_ml": ("brain volume", " ml"),
    "template_overlap": ("overlap with the template", ""),
    "registration_similarity": ("similarity to the template", ""),
    "affine_determinant": ("scaling to the template", ""),
    "affine_anisotropy": ("unevenness of the scaling to the template", ""),
    "template_outside_view": ("share of the brain outside the image", ""),
    "brain_at_edge_cm2": ("area of brain at the image's edge", " cm\N{SUPERSCRIPT TWO}"),
    "brain_at_removed_face_cm2": ("area of brain where the face was removed", " cm\N{SUPERSCRIPT TWO}"),
    "signal_to_noise": ("signal to noise", ""),
    "contrast_to_noise": ("contrast to noise", ""),
    "white_over_grey": ("brightness of white over grey matter", ""),
    "clipped_bright_share": ("share of the brain at the brightest value", ""),
    "clipped_dark_share": ("share of the brain's inside without brightness", ""),
    "repeated_slices_mm": ("thickness of slices that repeat the one before", " mm"),
    "ghost_share": ("brightness of a ghost beside the head, relative to the brain's", ""),
    "gain_by_turning": ("gain in similarity by turning the head", ""),
    "blank_slices_mm": ("thickness of the slices without signal", " mm"),
    "tissue_correlation": ("likeness of the tissues to the template's", ""),
}
"""What people call a measure, and its unit."""

QUALITY_CODES = (
    "ct_values",
    "not_finite",
    "constant_image",
    "slice_repeated",
    *dict.fromkeys(verdict.code for verdict in _VERDICTS),
)
"""The codes with which preprocessing and the quality gate refuse, in the order in which they win."""


@dataclass(frozen=True)
class QualityVerdict:
    """failed: measures outside the limits that refuse. refusal: what to tell the sender where any is.

    review_reasons: why a person should look at a head that is let through.
    """

    failed: tuple[str, ...]
    refusal: InputRefused | None
    review_reasons: tuple[Reason, ...]


def judge_quality(measures: Mapping[str, float], limits: QualityLimits) -> QualityVerdict:
    """Hold ``measures`` against ``limits``. A measure that is missing or not a number is outside any limit."""
    failed = _outside(measures, limits.refuse)
    review = tuple(
        Reason(ReviewCode.UNUSUAL_MEASURE, _in_words(name, measures.get(name, math.nan), limits.review[name]))
        for name in _outside(measures, limits.review)
        if name not in failed
    )
    return QualityVerdict(failed=failed, refusal=_refusal(failed, measures, limits), review_reasons=review)


def _outside(measures: Mapping[str, float], limits: Mapping[str, Limits]) -> tuple[str, ...]:
    return tuple(name for name, limit in limits.items() if not _within(measures.get(name, math.nan), limit))


def _within(value: float, limit: Limits) -> bool:
    low, high = limit
    return not math.isnan(value) and (low is None or value >= low) and (high is None or value <= high)


def _refusal(failed: tuple[str, ...], measures: Mapping[str, float], limits: QualityLimits) -> InputRefused | None:
    if not failed:
        return None
    # A bundle may limit a measure that is no reason by itself; then all that can be said is that this is no head.
    fallback = next(verdict for verdict in _VERDICTS if verdict.code == "not_a_head")
    verdict = next((v for v in _VERDICTS if v.explains(failed, measures)), fallback)
    details = {
        name: {"measured": _json_number(measures.get(name, math.nan)), "limits": list(limits.refuse[name])}
        for name in failed
    }
    return InputRefused(verdict.code, verdict.reason, {"failed": details})


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _in_words(name: str, value: float, limit: Limits) -> str:
    what, unit = MEASURE_WORDS.get(name, (name.replace("_", " "), ""))
    found = "could not be measured" if math.isnan(value) else f"is {value:.4g}{unit}"
    return f"The {what} {found}; expected is {_range_in_words(limit)}{unit}."


def _range_in_words(limit: Limits) -> str:
    low, high = limit
    if low is None:
        return f"at most {high:.4g}"
    return f"at least {low:.4g}" if high is None else f"{low:.4g} to {high:.4g}"
