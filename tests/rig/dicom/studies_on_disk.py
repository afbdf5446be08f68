"""DICOM studies written to a folder and read again: what the reader and the series ranking make of them."""

from pathlib import Path
from typing import Any

import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import LoadedSeries, Study, load_series, read_study, select_series
from rig.dicom.series import head_like, ras_affine, write_series

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
