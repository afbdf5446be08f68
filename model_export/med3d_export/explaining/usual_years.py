"""What groups of regions say of a cohort's heads of each age, so that one head can be held against them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from med3d_export.explaining.atlas import Atlas
from med3d_export.explaining.region_groups import GROUPS
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import BundleError
from med3d_pipeline.explanation.explainer import Explainer
from med3d_pipeline.explanation.region_table import RegionTable

Floats = npt.NDArray[np.float64]


def region_table(
    bundle: Bundle,
    atlas: Atlas,
    tensors: npt.NDArray[np.float32],
    ages_years: Floats,
    on_done: Callable[[], object],
) -> RegionTable:
    """Hold the bundle's own heads (N, X, Y, Z) against their ages (N,). Raises BundleError where it has no decoder."""
    explainer, count = explainer_of(bundle), len(GROUPS)
    blank = RegionTable(
        names=np.array(list(GROUPS)),
        labels=atlas.labels,
        middles=np.zeros(count),
        slopes=np.zeros(count),
        spreads=np.zeros(count),
        mean_age_years=np.array(ages_years.mean()),
        fluid_threshold=np.array(atlas.fluid_threshold),
    )
    effects = cohort_effects(explainer, blank, tensors, on_done)
    return with_usual_years(blank, effects, ages_years, 1.0 + float(bundle.predictor().space.age_bias[1]))


def explainer_of(bundle: Bundle) -> Explainer:
    """Return the bundle's explainer. Raises BundleError where it has none."""
    if bundle.explainer is None:
        raise BundleError("the bundle has no decoder, so nothing of it can be explained: release it without --private")
    return bundle.explainer


def cohort_effects(
    explainer: Explainer, table: RegionTable, tensors: npt.NDArray[np.float32], on_done: Callable[[], object]
) -> Floats:
    """Return what each group does to each head's estimate, (N, k) years."""
    rows = []
    for tensor in tensors:
        rows.append(explainer.region_effects(table, tensor, explainer.latent(tensor)))
        on_done()
    return np.stack(rows)


def with_usual_years(table: RegionTable, effects: Floats, ages_years: Floats, held_out_slope: float) -> RegionTable:
    """Return the table with what is usual, from effects (N, k) on heads of these ages (N,).

    The model has seen these heads, and their estimates follow their ages too closely. So all slopes are drawn together
    until their sum is ``held_out_slope``, years of the estimate per year of age among heads it has not seen.
    """
    offsets = ages_years - ages_years.mean()
    slopes = offsets @ effects / (offsets @ offsets)
    spreads = (effects - effects.mean(axis=0) - np.outer(offsets, slopes)).std(axis=0, ddof=2)
    drawn = slopes * held_out_slope / slopes.sum() if slopes.sum() > 0 else slopes
    fields = {name: getattr(table, name) for name in table.__dataclass_fields__}
    return RegionTable(**fields | {"middles": effects.mean(axis=0), "slopes": drawn, "spreads": spreads})
