"""Whether the images of one input are of one person: no number may mix two, and no age be taken from the other."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import Plane


def refuse_several_patients(planes: Sequence[Plane]) -> None:
    """Raise InputRefused("several_patients") where the images name more than one PatientID, whatever its case.

    That is the service's rule for originals. Where de-identification took the ids or made them one, two studies whose
    patients differ in sex or date of birth are of two people as well, and so are slices of one series. (Between two
    series of one study somebody may have corrected them.)
    """
    persons = {plane.person for plane in planes} - {""}
    if len(persons) > 1:
        raise _several(f"{len(persons)} patients (their patient ids differ)")
    of_studies = planes if len({plane.study_uid for plane in planes}) > 1 else ()
    for together in (of_studies, *_by_series(planes)):
        if len(_stated(plane.patient.sex for plane in together) & {"F", "M"}) > 1:
            raise _several("more than one patient (their sexes differ)")
        if len(_stated(plane.patient.birth_date for plane in together)) > 1:
            raise _several("more than one patient (their dates of birth differ)")


def _by_series(planes: Sequence[Plane]) -> Iterable[Sequence[Plane]]:
    series: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        series[plane.series_uid].append(plane)
    return series.values()


def _stated(values: Iterable[str | None]) -> set[str]:
    return {value for value in values if value}


def _several(whose: str) -> InputRefused:
    return InputRefused(
        "several_patients", f"The images are of {whose}. Send each patient's study on its own, one at a time."
    )
