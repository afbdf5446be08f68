"""A head's explanation in the contract's words."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from med3d_contract.explanations import Explanation, RegionShare, RegionShares, StoredExplanation, VentricleVolumes
from med3d_pipeline.explanation.explainer import STEP_YEARS, Attribution, HeadExplanation
from med3d_worker.heads.explanation_picture import explanation_picture


class Explains(Protocol):
    """med3d_pipeline.explanation.explainer.Explainer, or a test's stand-in."""

    def explain(self, tensor: npt.NDArray[np.float32], age_years: float | None) -> HeadExplanation:
        """Explain a head (X, Y, Z)."""
        ...


def explain_head(explainer: Explains, tensor: npt.NDArray[np.float32], age_years: float | None) -> StoredExplanation:
    """Explain one head (X, Y, Z) float32. Raises InferenceError."""
    return stored_explanation(explainer.explain(tensor, age_years))


def stored_explanation(found: HeadExplanation) -> StoredExplanation:
    """Return what goes out: numbers to a hundredth of a year and a tenth of a millilitre, and the picture."""
    volumes = found.ventricles_ml
    explanation = Explanation(
        step_years=STEP_YEARS,
        shares=None if found.attribution is None else _shares(found.attribution),
        ventricles_ml=None
        if volumes is None
        else VentricleVolumes(
            younger=round(volumes.younger, 1), now=round(volumes.now, 1), older=round(volumes.older, 1)
        ),
    )
    return StoredExplanation(explanation=explanation, picture=explanation_picture(found))


def _shares(found: Attribution) -> RegionShares:
    return RegionShares(
        age_years=found.age_years,
        total_years=round(found.total_years, 2),
        rest_years=round(found.rest_years, 2),
        regions=tuple(
            RegionShare(region=one.name, years=round(one.years, 2), usual_spread_years=round(one.usual_spread_years, 2))
            for one in found.regions
        ),
    )
