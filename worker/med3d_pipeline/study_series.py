"""A study as its headers tell it: the series that it holds, labelled and appraised."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from med3d_pipeline.dicom_plane import Plane
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.nifti import NiftiFile
from med3d_pipeline.series_ranking import Appraisal
from med3d_pipeline.stack_geometry import StackGeometry


@dataclass(frozen=True, eq=False)
class StudySeries:
    """One volume that a study holds, by header: DICOM planes or a NIfTI file, with our label and appraisal."""

    label: str
    source: tuple[Plane, ...] | NiftiFile
    geometry: StackGeometry | None
    appraisal: Appraisal
    series_number: int | None


@dataclass(frozen=True, eq=False)
class Study:
    """What lies under the given paths: series in a fixed order that no file name influences.

    ignored_files: clutter and objects that are no images. unreadable_files: DICOM whose header is broken.
    """

    series: tuple[StudySeries, ...]
    ignored_files: int
    unreadable_files: int


def find_series(study: Study, label: str) -> StudySeries:
    """Return the series with that label. Raises InputRefused with unknown_series."""
    for series in study.series:
        if series.label == label:
            return series
    raise InputRefused(
        "unknown_series",
        "The study holds no series with that label. Choose one of the listed labels.",
        {"candidates": listed_candidates(study)},
    )


def best_first(study: Study) -> Sequence[StudySeries]:
    """Eligible series before the others, each by score; equals stay in the study's order."""
    return sorted(study.series, key=lambda series: (series.appraisal.fault is not None, -series.appraisal.score))


def listed_candidates(study: Study) -> list[dict[str, Any]]:
    """All series as JSON values for a refusal's details, best first."""
    return [
        {"label": series.label, "score": series.appraisal.score, "reasons": list(series.appraisal.reasons)}
        for series in best_first(study)
    ]
