"""Why a person should look at an answer that has a number: a stable code and a sentence."""

from dataclasses import dataclass
from enum import StrEnum


class ReviewCode(StrEnum):
    """The codes with which an answer is marked for review; docs/refusals.md says what each means.

    First what reading sees, then the quality gate, then the model. A code keeps its meaning for ever.
    """

    CHOSEN_BY_HAND = "chosen_by_hand"
    NOT_ELIGIBLE = "not_eligible"
    SERIES_TIE = "series_tie"
    EARLIER_SERIES_UNUSABLE = "earlier_series_unusable"
    SERIES_CONTRADICT = "series_contradict"
    CONTRAST_UNKNOWN = "contrast_unknown"
    TWO_DIMENSIONAL = "two_dimensional"
    CONTRAST_AGENT = "contrast_agent"
    CONTRAST_AGENT_POSSIBLE = "contrast_agent_possible"
    DERIVED_IMAGE = "derived_image"
    LOSSY_COMPRESSION = "lossy_compression"
    NOISY_BACKGROUND = "noisy_background"
    THICK_SLICES = "thick_slices"
    FOREIGN_SLICES = "foreign_slices"
    SERIES_BY_GEOMETRY = "series_by_geometry"
    FORMS_DIFFER = "forms_differ"
    CHOSEN_BY_NAME = "chosen_by_name"
    DAMAGED_FILES = "damaged_files"
    OTHER_SERIES_DAMAGED = "other_series_damaged"
    UNUSUAL_MEASURE = "unusual_measure"
    CALIBRATION_OTHER_SCANNER = "calibration_other_scanner"
    CALIBRATION_EXPIRED = "calibration_expired"
    TRAINING_SCAN = "training_scan"
    SITE_NOT_CORRECTED = "site_not_corrected"
    AGE_OUTSIDE_CALIBRATION = "age_outside_calibration"
    FIELD_STRENGTH_UNKNOWN = "field_strength_unknown"
    FIELD_STRENGTH_OUTSIDE_CALIBRATION = "field_strength_outside_calibration"
    VENDOR_OUTSIDE_CALIBRATION = "vendor_outside_calibration"
    FAR_FROM_TRAINING = "far_from_training"
    POORLY_RECONSTRUCTED = "poorly_reconstructed"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason to look. code: a ReviewCode, or one of another release; sentence: a whole one, for people."""

    code: str
    sentence: str


AFTER_CONTRAST_AGENT = Reason(
    ReviewCode.CONTRAST_AGENT, "The scan was acquired after contrast agent; the model was made for scans without."
)
