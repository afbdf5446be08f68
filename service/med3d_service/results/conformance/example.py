"""An answer that was never given, to be rendered: what it leaves in an object is what such objects hold.

All that the images would have said of patient and study is in capitals with a sign that occurs nowhere else.
"""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from med3d_contract.explanations import Explanation, ExplanationPicture, StoredExplanation
from med3d_contract.results import (
    Assessment,
    BrainAge,
    BundleRef,
    ChronologicalAge,
    Estimate,
    Interval,
    OutOfDistribution,
    Reason,
    Refusal,
    Result,
    Sdmt,
)
from med3d_service.results.reports.facts import PatientIdentity, ReportFacts, SourceImages, StudyIdentity
from med3d_service.results.reports.segmented import SegmentedBrain

DATE, TIME, AGE = "19010203", "070809", "007Y"
OF_THE_IMAGES = frozenset(
    {
        *(f"§{name}" for name in ("ID", "ISSUER", "STUDY", "ACCESSION", "DESCRIPTION", "INSTITUTION", "OTHER")),
        *("§REQUESTED", "§NAME^", "§REFERRING^", "§REQUESTING^"),
        *("1.2.840.99.1", "1.2.840.99.4", DATE, TIME, AGE, "F"),
    }
)
"""Values that an object has from the images."""
_LEVEL = 0.9
_ONE_PIXEL, _SIX_PIXELS = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC",
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAC0lEQVR4nGNgwAQAABQAAX3+Hu4AAAAASUVORK5CYII=",
)


def full_answer() -> ReportFacts:
    """Return a completed run of images that say all that can be handed on, with a predecessor."""
    return ReportFacts(
        run_id="00000000-0000-4000-8000-000000000001",
        study_id="00000000-0000-4000-8000-000000000002",
        answered_at=datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC),
        bundle=BundleRef(name="model", version="1", digest="0" * 64),
        result=_result(),
        refusal=None,
        series=None,
        quality=None,
        provenance=None,
        patient=PatientIdentity("§ID", "§ISSUER", "§NAME^", DATE, "F"),
        study=StudyIdentity(
            "1.2.840.99.1",
            DATE,
            TIME,
            "§STUDY",
            "§ACCESSION",
            "§REFERRING^",
            {
                "study_description": "§DESCRIPTION",
                "institution_name": "§INSTITUTION",
                "patient_age": AGE,
                "other_patient_ids": "§OTHER",
                "requesting_physician": "§REQUESTING^",
                "requested_procedure": "§REQUESTED",
            },
        ),
        source=SourceImages("1.2.840.99.2", "1.2.840.10008.5.1.4.1.1.4", ("1.2.840.99.3",)),
        predecessor="00000000-0000-4000-8000-000000000003",
        segmented=SegmentedBrain(
            np.ones((2, 2, 2), np.uint8), np.eye(4), ("1.2.840.99.3", "1.2.840.99.5"), (1, 1), "1.2.840.99.4"
        ),
        explanation=_explanation(_ONE_PIXEL, 1, 1),
    )


def bare_findings() -> ReportFacts:
    """Return the same of images on which a brain was found, and explained."""
    brain = SegmentedBrain(np.ones((3, 4, 5), np.uint8), np.eye(4) * 2, ("1.2.3", "1.2.4", "1.2.5"), (1, 1, 1), "1.2.6")
    source = full_answer().source
    return replace(bare_answer(), source=source, segmented=brain, explanation=_explanation(_SIX_PIXELS, 3, 2))


def bare_answer() -> ReportFacts:
    """Return a refused run of images that say little."""
    return ReportFacts(
        run_id="00000000-0000-4000-8000-000000000004",
        study_id="00000000-0000-4000-8000-000000000005",
        answered_at=datetime(2002, 3, 4, 5, 6, 7, tzinfo=UTC),
        bundle=BundleRef(name="another", version="2", digest="1" * 64),
        result=None,
        refusal=Refusal(code="no_t1w_series", reason="No series is T1-weighted."),
        series=None,
        quality=None,
        provenance=None,
        patient=PatientIdentity("§ID", "", "§NAME^", DATE, "F"),
        study=StudyIdentity("1.2.840.99.1", DATE, TIME, "§STUDY", "§ACCESSION", "§REFERRING^"),
        source=None,
        predecessor=None,
    )


def _explanation(png: str, width: int, height: int) -> StoredExplanation:
    picture = ExplanationPicture(width=width, height=height, png_base64=png)
    return StoredExplanation(explanation=Explanation(step_years=10.0, shares=None, ventricles_ml=None), picture=picture)


def _result() -> Result:
    def estimate(value: float) -> Estimate:
        return Estimate(estimate=value, interval=Interval(level=_LEVEL, lower=value - 8, upper=value + 8))

    age, gap = estimate(52.0), estimate(2.0)
    return Result(
        brain_age=BrainAge(
            estimate=age.estimate,
            interval=age.interval,
            chronological_age=ChronologicalAge(years=50.0, source="birth_date"),
            gap=gap,
            gap_corrected=gap,
        ),
        sdmt=Sdmt(estimate=50.0, interval=age.interval, evidence="measured scores"),
        latent=None,
        assessment=Assessment(
            decision="review",
            reasons=(Reason(code="age_unknown", sentence="The age is not known."),),
            out_of_distribution=OutOfDistribution(distance=1.0, percentile=40.0),
            calibrated_for="a site",
        ),
    )
