"""A study as its headers tell it: the series that it holds, labelled and appraised."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import Plane
from med3d_pipeline.reading.stack_geometry import StackGeometry
from med3d_pipeline.reading.volume_files.nifti import NiftiFile
from med3d_pipeline.study.series_ranking import Appraisal


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
    """What lies under the given paths: series in a fixed order (series_order) that no file name or UID influences.

    ignored_files: clutter and objects that are no images. unreadable_files: DICOM whose header is broken.
    """

    series: tuple[StudySeries, ...]
    ignored_files: int
    unreadable_files: int


_SERIES_NUMBER = re.compile(r"(?:series )?([0-9]{1,10})")


def find_series(study: Study, wanted: str) -> StudySeries:
    """Return the series that a person means by its label, number, Series Instance UID, or the name of a NIfTI file.

    Upper and lower case are the same. Where several volumes share a number or UID, such as echoes, the best is meant;
    a file's name (without its folders) must be that of one image alone.

    Raises InputRefused with unknown_series.
    """
    said = " ".join(wanted.split()).casefold()
    for means in (_has_label, _has_number, _has_uid):
        for series in best_first(study):
            if means(series, said):
                return series
    named = [series for series in study.series if _has_file_name(series, said)]
    if len(named) == 1:
        return named[0]
    raise InputRefused(
        "unknown_series",
        f"The study holds {f'{len(named)} files of that name' if named else 'no such series'}. Choose one of those "
        "listed, by its number, Series Instance UID or label, or a NIfTI file by its name.",
        {"candidates": listed_candidates(study)},
    )


def _has_label(series: StudySeries, said: str) -> bool:
    return series.label.casefold() == said


def _has_number(series: StudySeries, said: str) -> bool:
    number = _SERIES_NUMBER.fullmatch(said)
    return number is not None and series.series_number == int(number[1])


def _has_uid(series: StudySeries, said: str) -> bool:
    return not isinstance(series.source, NiftiFile) and any(plane.series_uid == said for plane in series.source)


def _has_file_name(series: StudySeries, said: str) -> bool:
    if not isinstance(series.source, NiftiFile):
        return False
    names = {path.name for path in (series.source.path, *series.source.copies)}
    return said in {" ".join(name.split()).casefold() for name in names}


def best_first(study: Study) -> Sequence[StudySeries]:
    """Return eligible series before the others, each by score; equals stay in the study's order."""
    return sorted(study.series, key=lambda series: (series.appraisal.fault is not None, -series.appraisal.score))


def listed_candidates(study: Study) -> list[dict[str, Any]]:
    """Return all series as JSON values for a refusal's details, best first."""
    return [
        {"label": series.label, "score": series.appraisal.score, "reasons": list(series.appraisal.reasons)}
        for series in best_first(study)
    ]
