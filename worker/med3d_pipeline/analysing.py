"""From a file or a folder to an answer in one call, for notebooks: the steps of docs/library.md, in their order."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import numpy as np

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.given_paths import AnyPath
from med3d_pipeline.inference.prediction import Prediction, SubjectAttributes
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.outline_pictures import OUTLINE, OutlinePicture, outline_pictures
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.study.series_selection import select_series
from med3d_pipeline.study.study import load_series, read_study

OUTLINE_RGB = (255, 170, 0)
SLICES = 5


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer with what it was made from. A notebook shows it with the outline of the brain that was found.

    series: the label of the one that was taken. head: mask, tensor, affine and measures of quality.
    """

    prediction: Prediction
    series: str
    head: Preprocessed
    pictures: tuple[OutlinePicture, ...]

    @property
    def brain_age(self) -> float:
        """The estimate in years; its interval, the gap and the reasons to look are in ``prediction``."""
        return self.prediction.brain_age.estimate

    def __str__(self) -> str:
        interval = self.prediction.brain_age.interval
        span = f"{100 * interval.level:.0f} %: {interval.lower:.1f} to {interval.upper:.1f}"
        return f"brain age {self.brain_age:.1f} years ({span}), {self.prediction.decision}"

    def _repr_html_(self) -> str:
        reasons = "".join(
            f"<li><code>{escape(one.code)}</code> {escape(one.sentence)}</li>" for one in self.prediction.reasons
        )
        image = base64.b64encode(mosaic_png(self.pictures)).decode()
        return (
            f"<div><strong>{escape(str(self))}</strong><ul>{reasons}</ul>"
            f'<img alt="Slices with the brain\'s outline" style="max-width:100%" src="data:image/png;base64,{image}">'
            "<p><small>Research use; not a medical device.</small></p></div>"
        )


def analyse(scan: AnyPath, *, age_years: float | None = None, bundle: Bundle | None = None) -> Answer:
    """Answer for the T1-weighted head in a file or folder by the shipped model, or by ``bundle``.

    age_years: at the scan, 0 to 120; without it there is no gap. Raises InputRefused (``code``, ``reason``) for what
    cannot be given a number, ValueError for another age or an empty path, BundleError and InferenceError where
    something is broken.
    """
    subject = SubjectAttributes(age_years=age_years)
    model = bundle or _shipped()
    study = read_study([scan])
    chosen = select_series(study).chosen
    series = load_series(study, chosen)
    head = model.preprocessor()(series.volume)
    verdict = judge_quality(head.measures, model.quality_limits)
    if verdict.refusal is not None:
        raise verdict.refusal
    [found] = model.predictor().predict(head.tensor[None], [subject], [series.acquisition], [verdict.review_reasons])
    if isinstance(found, InputRefused):
        raise found
    return Answer(found, chosen, head, outline_pictures(to_closest_ras(series.volume), head.brain_mask, SLICES))


@lru_cache(maxsize=1)
def _shipped() -> Bundle:
    return Bundle.open(Bundle.default_path())


def mosaic_png(pictures: Sequence[OutlinePicture]) -> bytes:
    """Lay the slices of each plane in a row and encode them, the outline in colour."""
    from PIL import Image

    planes = dict.fromkeys(one.plane for one in pictures)
    rows = [_in_row([one for one in pictures if one.plane == plane]) for plane in planes]
    width = max(row.shape[1] for row in rows)
    grey = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows])
    coloured = np.repeat(grey[:, :, None], 3, axis=2)
    coloured[grey == OUTLINE] = OUTLINE_RGB
    buffer = io.BytesIO()
    Image.fromarray(coloured).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _in_row(pictures: Sequence[OutlinePicture]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.concatenate([one.pixels for one in pictures], axis=1)
