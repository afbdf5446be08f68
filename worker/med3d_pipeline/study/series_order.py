"""The order of a study's series: by what every copy of it keeps, so that a tie ends alike wherever it is read.

UIDs, file names and unknown words are others in a de-identified copy; numbers, places, times and pixels are not.
"""

from collections.abc import Iterable
from hashlib import sha256
from itertools import groupby

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_pixels import plane_pixels
from med3d_pipeline.reading.dicom_plane import lasting_order, moment_order
from med3d_pipeline.reading.dicom_stacks import fingerprint
from med3d_pipeline.reading.volume_files.nifti import NiftiFile, digest_content
from med3d_pipeline.study.series_ranking import typical_facts
from med3d_pipeline.study.study_series import StudySeries


def in_order(found: Iterable[StudySeries]) -> list[StudySeries]:
    """Sort by series number, then echo (the first of several before the others), acquisition and place.

    Equals are sorted by their pixels, and by UIDs only where these are the same as well.
    """
    ordered: list[StudySeries] = []
    for _, group in groupby(sorted(found, key=_told), key=_told):
        equals = list(group)
        ordered += sorted(equals, key=_content) if len(equals) > 1 else equals
    return ordered


def _told(series: StudySeries) -> tuple[object, ...]:
    number = (series.series_number is None, series.series_number or 0)
    if isinstance(series.source, NiftiFile):
        return (*number, 0.0, (), series.label, ())
    echo_ms = typical_facts(series.source).te_ms or 0.0
    first = min(moment_order(plane) for plane in series.source)
    return (*number, echo_ms, first, series.label, min(lasting_order(plane) for plane in series.source))


def _content(series: StudySeries) -> tuple[str, str]:
    if isinstance(series.source, NiftiFile):
        return digest_content(series.source.path), ""
    planes = sorted(series.source, key=lasting_order)
    try:
        pixels = sha256(plane_pixels(planes[len(planes) // 2]).tobytes()).hexdigest()
    except InputRefused:
        pixels = ""
    return pixels, fingerprint(planes)
