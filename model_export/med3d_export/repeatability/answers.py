"""What a bundle answers to a file, through the whole chain that a worker sends it through."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.study.study import LoadedSeries, load_series, read_study, select_series

SIGNAL_TO_NOISE = "signal_to_noise"


@dataclass(frozen=True)
class Answer:
    """brain_age_years: None where the file is refused, with the code. signal_to_noise: None where not measured."""

    brain_age_years: float | None
    signal_to_noise: float | None
    refusal: str = ""


@dataclass(frozen=True)
class RepeatedHead:
    """A file of a cohort, or a folder with a DICOM study. name: how the report calls it, never who it is."""

    name: str
    source: Path
    row: int
    age_years: float | None = None
    site: str | None = None
    is_study: bool = False


Ask = Callable[[Path, RepeatedHead], Answer]


def read_series(source: Path) -> LoadedSeries:
    """Return the series that would be analysed of ``source``. Raises InputRefused."""
    study = read_study([source])
    return load_series(study, select_series(study).chosen)


class WholeChain:
    """Reading, preprocessing, quality gate, encoder and brain-age head of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __call__(self, source: Path, head: RepeatedHead) -> Answer:
        """Answer to ``source``; age and site are those of ``head``, which it shows."""
        bundle, signal_to_noise = self._bundle, None
        try:
            loaded = read_series(source)
            made = bundle.preprocessor()(loaded.volume)
            measured = made.measures[SIGNAL_TO_NOISE]
            signal_to_noise = measured if math.isfinite(measured) else None
            verdict = judge_quality(made.measures, bundle.quality_limits)
            if verdict.refusal is not None:
                raise verdict.refusal
            subject = SubjectAttributes(head.age_years, scan_site=head.site)
            (found,) = bundle.predictor().predict(made.tensor[None], [subject], [loaded.acquisition])
            if isinstance(found, InputRefused):
                raise found
        except InputRefused as refused:
            return Answer(None, signal_to_noise, refused.code)
        return Answer(found.brain_age.estimate, signal_to_noise)
