"""From the files of a head MRI to a brain age: read a study, choose its series, preprocess, predict.

The names of ``__all__`` are the public ones; docs/library.md uses them. Each is imported when it is first asked for, so
that a reading of headers loads no network runtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from med3d_pipeline.analysing import Answer, analyse
    from med3d_pipeline.bundle.bundle import Bundle
    from med3d_pipeline.calibration.files import read_calibration
    from med3d_pipeline.calibration.fitting import Bearings, CalibrationHead, fit_site
    from med3d_pipeline.calibration.refusals import CalibrationRefused
    from med3d_pipeline.calibration.site_calibration import CalibratedSite, SiteCalibration
    from med3d_pipeline.errors import BundleError, InferenceError, InputRefused, PipelineError
    from med3d_pipeline.inference.prediction import (
        PointEstimate,
        Prediction,
        PredictionInterval,
        Predictor,
        SubjectAttributes,
    )
    from med3d_pipeline.preprocessing.preprocess import Preprocessed, Preprocessor
    from med3d_pipeline.preprocessing.quality import QualityVerdict, judge_quality
    from med3d_pipeline.preprocessing.spec import PreprocessSpec, QualityLimits
    from med3d_pipeline.reading.dicom_plane import PatientAttributes
    from med3d_pipeline.reasons import Reason, ReviewCode
    from med3d_pipeline.study.acquisition import Acquisition
    from med3d_pipeline.study.series_selection import SeriesCandidate, SeriesSelection, select_series
    from med3d_pipeline.study.study import LoadedSeries, load_series, read_study
    from med3d_pipeline.study.study_series import Study
    from med3d_pipeline.volume import Volume

__all__ = [
    "Acquisition",
    "Answer",
    "Bearings",
    "Bundle",
    "BundleError",
    "CalibratedSite",
    "CalibrationHead",
    "CalibrationRefused",
    "InferenceError",
    "InputRefused",
    "LoadedSeries",
    "PatientAttributes",
    "PipelineError",
    "PointEstimate",
    "Prediction",
    "PredictionInterval",
    "Predictor",
    "PreprocessSpec",
    "Preprocessed",
    "Preprocessor",
    "QualityLimits",
    "QualityVerdict",
    "Reason",
    "ReviewCode",
    "SeriesCandidate",
    "SeriesSelection",
    "SiteCalibration",
    "Study",
    "SubjectAttributes",
    "Volume",
    "analyse",
    "fit_site",
    "judge_quality",
    "load_series",
    "read_calibration",
    "read_study",
    "select_series",
]

_MODULES = {
    "analysing": ("Answer", "analyse"),
    "bundle.bundle": ("Bundle",),
    "calibration.files": ("read_calibration",),
    "calibration.fitting": ("Bearings", "CalibrationHead", "fit_site"),
    "calibration.refusals": ("CalibrationRefused",),
    "calibration.site_calibration": ("CalibratedSite", "SiteCalibration"),
    "errors": ("BundleError", "InferenceError", "InputRefused", "PipelineError"),
    "inference.prediction": ("PointEstimate", "Prediction", "PredictionInterval", "Predictor", "SubjectAttributes"),
    "preprocessing.preprocess": ("Preprocessed", "Preprocessor"),
    "preprocessing.quality": ("QualityVerdict", "judge_quality"),
    "preprocessing.spec": ("PreprocessSpec", "QualityLimits"),
    "reading.dicom_plane": ("PatientAttributes",),
    "reasons": ("Reason", "ReviewCode"),
    "study.acquisition": ("Acquisition",),
    "study.series_selection": ("SeriesCandidate", "SeriesSelection", "select_series"),
    "study.study": ("LoadedSeries", "load_series", "read_study"),
    "study.study_series": ("Study",),
    "volume": ("Volume",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
