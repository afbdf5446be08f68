"""Why a site cannot be calibrated, or its calibration is not used: stable codes, documented in docs/calibration.md."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from med3d_pipeline.errors import PipelineError


class CalibrationCode(StrEnum):
    """A code keeps its meaning for ever. First what fitting refuses, then what loading refuses."""

    TOO_FEW_HEADS = "calibration_too_few_heads"
    AGES_TOO_NARROW = "calibration_ages_too_narrow"
    AGES_UNRELATED = "calibration_ages_unrelated"
    PATIENTS = "calibration_patients"
    SEVERAL_SCANNERS = "calibration_several_scanners"
    BAD_NAME = "calibration_bad_name"
    UNREADABLE = "calibration_unreadable"
    OTHER_BUNDLE = "calibration_other_bundle"
    REVOKED = "calibration_revoked"
    UNSIGNED = "calibration_unsigned"
    SIGNATURE_INVALID = "calibration_signature_invalid"


class CalibrationRefused(PipelineError):  # noqa: N818 - a refusal is an answer, not a fault
    """A calibration cannot be made or used; ``reason`` says what was seen and what to do. No identifiers in either."""

    def __init__(self, code: CalibrationCode, reason: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.details = dict(details or {})


def refuse_patients(groups: Mapping[str, int], healthy: int) -> None:
    """Raise CalibrationRefused where heads are stated as other than healthy; groups: their words and numbers."""
    if not groups:
        return
    told = ", ".join(f"{group} {count}" for group, count in sorted(groups.items()))
    raise CalibrationRefused(
        CalibrationCode.PATIENTS,
        f"{sum(groups.values())} of {sum(groups.values()) + healthy} heads are stated as other than healthy ({told}). "
        "What a disease does to the brain would be taken for the scanner's doing. Name the words that mean healthy "
        "(--healthy), and the others are left out.",
        {"groups": dict(groups), "healthy": healthy},
    )
