"""Whether two series of one study give the same answer."""

from typing import NamedTuple

import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.encoder import Float32
from med3d_pipeline.inference.prediction import Predictor, SubjectAttributes
from med3d_pipeline.inference.yardstick import ScannerAttributes
from med3d_pipeline.reasons import Reason, ReviewCode


class PreparedHead(NamedTuple):
    """A preprocessed series. tensor: (X, Y, Z) float32."""

    label: str
    tensor: Float32
    acquisition: ScannerAttributes


def contradiction(predictor: Predictor, taken: PreparedHead, other: PreparedHead) -> Reason | None:
    """Return why a person should look where ``other`` has an age outside the interval of the series that was ``taken``.

    None, too, where the model knows nothing like one of them: then there are no two ages. Raises InferenceError.
    """
    answers = predictor.predict(
        np.stack([taken.tensor, other.tensor]), [SubjectAttributes()] * 2, [taken.acquisition, other.acquisition]
    )
    first, second = answers
    if isinstance(first, InputRefused) or isinstance(second, InputRefused):
        return None
    interval, age_years = first.brain_age.interval, second.brain_age.estimate
    if interval.lower <= age_years <= interval.upper:
        return None
    return Reason(
        ReviewCode.SERIES_CONTRADICT,
        f"Another series of the study serves nearly as well ({other.label}) and gives {age_years:.1f} years, outside "
        f"this one's interval of {interval.lower:.1f} to {interval.upper:.1f}.",
    )
