"""DICOM studies written to a folder and read again: what the reader and the series ranking make of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_headers import read_planes, tolerant_reading
from med3d_pipeline.reading.dicom_plane import Plane
from med3d_pipeline.study.study import (
    LoadedSeries,
    Study,
    _dicom_series,
    _labelled,
    load_series,
    read_study,
    select_series,
)
from rig.dicom.series import head_like, legacy_converted_dataset, ras_affine, write_series

# Just fine enough, and just wide enough.
HEAD_SHAPE = (40, 44, 40)
HEAD_AFFINE = ras_affine((2.5, 2.5, 2.5), (-50, -55, -50))


def study_with(folder: Path, shape: tuple[int, int, int] = HEAD_SHAPE, **series: dict[str, Any]) -> Study:
    """A study of one series per header, numbered from 1 unless the header says otherwise."""
    for number, (name, header) in enumerate(series.items(), start=1):
        write_series(
            folder / name, head_like(shape, number), HEAD_AFFINE, series=name, **({"SeriesNumber": number} | header)
        )
    return read_study([folder])


def study_by_headers(
    folder: Path,
    shape: tuple[int, int, int] = HEAD_SHAPE,
    affine: np.ndarray = HEAD_AFFINE,
    **series: dict[str, Any],
) -> Study:
    """The study that ``study_with`` makes, of one file per series: its other slices are that one, further along.

    For tests of what headers say, which are the same in every slice: to write and read forty of them takes twenty times
    as long. Its voxels cannot be loaded.
    """
    planes: list[Plane] = []
    for number, (name, header) in enumerate(series.items(), start=1):
        (path,) = write_series(
            folder / name,
            np.zeros((*shape[:2], 1), "uint16"),
            affine,
            series=name,
            **({"SeriesNumber": number} | header),
        )
        planes += _stack_like(path, affine, shape[2])
    return Study(_labelled(_dicom_series(planes)), 0, 0)


def converted_study_by_headers(folder: Path, **header: Any) -> Study:
    """The study of one classic series that an archive converted, of one frame: see ``study_by_headers``."""
    path = folder / "converted.dcm"
    converted = legacy_converted_dataset(np.zeros((*HEAD_SHAPE[:2], 1), "uint16"), HEAD_AFFINE, **header)
    converted.save_as(path, enforce_file_format=True)
    return Study(_labelled(_dicom_series(_stack_like(path, HEAD_AFFINE, HEAD_SHAPE[2]))), 0, 0)


def _stack_like(path: Path, affine: np.ndarray, slices: int) -> list[Plane]:
    """The one image of a file, and so many in all, each a slice further."""
    with tolerant_reading():
        (first,) = read_planes(path)
    return [_further(first, index * affine[:3, 2]) for index in range(slices)]


def _further(first: Plane, by_ras_mm: np.ndarray) -> Plane:
    place = np.asarray(first.position_mm) + by_ras_mm * (-1, -1, 1)
    return replace(first, uid=f"{first.uid}.{np.linalg.norm(by_ras_mm):.0f}", position_mm=tuple(place.tolist()))


def refusal_of_choice(study: Study) -> InputRefused:
    """With what the choice among the study's series is refused."""
    with pytest.raises(InputRefused) as refused:
        select_series(study)
    return refused.value


def load_only(*paths: Path | str) -> LoadedSeries:
    """The one series in ``paths``."""
    study = read_study([Path(path) for path in paths])
    (series,) = study.series
    return load_series(study, series.label)


def refusal_of_reading(*paths: Path | str) -> str:
    """The code with which the one series in ``paths`` is refused."""
    with pytest.raises(InputRefused) as refused:
        load_only(*paths)
    return refused.value.code
