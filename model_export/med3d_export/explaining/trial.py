"""Whether explanations hold: ventricles grow with years, regions add up, and the table needs the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from med3d_export.explaining.usual_years import Floats, cohort_effects, explainer_of
from med3d_export.training import Tensors
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import BundleError
from med3d_pipeline.explanation.explainer import Explainer
from med3d_pipeline.explanation.region_table import FILE, RegionTable
from med3d_pipeline.inference.encoder import LatentEncoder
from med3d_pipeline.runtime.onnx_sessions import SessionOptions, open_session

STEPS_YEARS = (-10.0, -5.0, 0.0, 5.0, 10.0)
CORE = 0.9
"""Share of the heads in which a voxel of the ventricles' core is fluid: it can change brightness, not grow."""
AIMED_SHARE = 0.9
RANDOMISED_HEADS = 24
SHUFFLES = 5
"""Of the weights, each asked about the same heads: one alone goes with size or against it, by chance."""


@dataclass(frozen=True)
class Growth:
    """Ventricles of heads (N) along STEPS_YEARS, by the same count of voxels for people and for what is drawn.

    growing_share: of heads whose volume grows at every step. drawn_ml, cohort_ml: in 10 years, as drawn and as people
    of other ages have it. core_change: of the core's mean brightness in 10 years, of that from fluid to white matter.
    """

    heads: int
    growing_share: float
    drawn_ml: float
    cohort_ml: float
    core_change: float

    @property
    def is_as_aimed(self) -> bool:
        """Nine of ten heads grow."""
        return self.growing_share >= AIMED_SHARE


@dataclass(frozen=True)
class RegionScore:
    """A group among the heads: years per 10 years of age, spread at one age, r with those of each shuffled encoder."""

    name: str
    years_in_ten: float
    spread_years: float
    randomised_r: tuple[float, ...]


@dataclass(frozen=True)
class ExplanationTrial:
    """The figures of one bundle. rest_sd_years beside gap_sd_years: what no region explains of how gaps differ."""

    bundle: str
    digest: str
    growth: Growth
    regions: tuple[RegionScore, ...]
    rest_sd_years: float
    gap_sd_years: float
    randomised_heads: int


def try_explanations(
    bundle: Bundle, tensors: Tensors, ages_years: Floats, seed: int, on_done: Callable[[], object]
) -> ExplanationTrial:
    """Measure on heads (N, X, Y, Z) of these ages (N,). Raises BundleError where it cannot explain by region."""
    explainer = explainer_of(bundle)
    if FILE not in bundle.manifest.files:
        raise BundleError(f"the bundle has no {FILE}: add it first (med3d-export add-regions)")
    table = RegionTable.load(bundle.path / FILE, bundle.spec.shape)
    growth = measure_growth(explainer, table, tensors, ages_years, bundle.spec.spacing_mm**3 / 1000.0)
    effects = cohort_effects(explainer, table, tensors, on_done)
    chosen = np.unique(np.linspace(0, len(tensors) - 1, RANDOMISED_HEADS).round().astype(int))
    others = []
    for shuffle in range(SHUFFLES):
        with TemporaryDirectory() as folder:
            encoder = _randomised_encoder(bundle, Path(folder), seed + shuffle)
            space = bundle.predictor().space
            randomised = Explainer(encoder, explainer.decoder, explainer.brain_age, space, table, voxel_ml=1.0)
            others.append(cohort_effects(randomised, table, tensors[chosen], on_done))
    estimates = np.array([found.estimate_years for found in bundle.predictor().look(tensors)])
    residuals, gaps = _beside_age(effects, ages_years), _beside_age(estimates[:, None], ages_years)[:, 0]
    return ExplanationTrial(
        bundle=f"{bundle.name} {bundle.version}",
        digest=bundle.digest,
        growth=growth,
        regions=_region_scores(table, effects, residuals, effects[chosen], others, ages_years),
        rest_sd_years=float((gaps - residuals.sum(axis=1)).std(ddof=2)),
        gap_sd_years=float(gaps.std(ddof=2)),
        randomised_heads=len(chosen),
    )


def measure_growth(
    explainer: Explainer, table: RegionTable, tensors: Tensors, ages_years: Floats, voxel_ml: float
) -> Growth:
    """Make each head older and younger and count its ventricles' voxels."""
    now = table.ventricle_voxels(tensors)
    inside = table.labels == table.names.tolist().index("ventricles") + 1
    core = inside & ((tensors < table.fluid_threshold).mean(axis=0) >= CORE)
    counts, core_changes = [], []
    for tensor in tensors:
        drawn = explainer.differences(explainer.latent(tensor), STEPS_YEARS)
        counts.append(table.ventricle_voxels(tensor + drawn))
        core_changes.append(float(drawn[-1][core].mean()) if core.any() else 0.0)
    volumes = np.array(counts) * voxel_ml
    # Midway between the two is the threshold, and fluid's own brightness is that of the core.
    fluid = float(np.median(tensors[:, core])) if core.any() else 0.0
    return Growth(
        heads=len(tensors),
        growing_share=float((np.diff(volumes, axis=1) > 0).all(axis=1).mean()),
        drawn_ml=float((volumes[:, -1] - volumes[:, 0]).mean() / 2),
        cohort_ml=float(np.polyfit(ages_years, now * voxel_ml, 1)[0] * 10),
        core_change=float(np.mean(core_changes) / (2 * (float(table.fluid_threshold) - fluid))),
    )


def _region_scores(
    table: RegionTable, effects: Floats, residuals: Floats, real: Floats, others: list[Floats], ages_years: Floats
) -> tuple[RegionScore, ...]:
    slopes = np.polyfit(ages_years, effects, 1)[0] * 10
    return tuple(
        RegionScore(
            name=str(name),
            years_in_ten=float(slopes[number]),
            spread_years=float(residuals[:, number].std(ddof=2)),
            randomised_r=tuple(_correlation(real[:, number], other[:, number]) for other in others),
        )
        for number, name in enumerate(table.names)
    )


def _correlation(first: Floats, second: Floats) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if first.std() > 0 and second.std() > 0 else 0.0


def _beside_age(values: Floats, ages_years: Floats) -> Floats:
    """Return what age does not explain of values (N, k)."""
    slopes, offsets = np.polyfit(ages_years, values, 1)
    return np.asarray(values - np.outer(ages_years, slopes) - offsets, dtype=np.float64)


def _randomised_encoder(bundle: Bundle, folder: Path, seed: int) -> LatentEncoder:
    """Return the encoder with the numbers of each of its weights shuffled (Adebayo et al., NeurIPS 2018)."""
    model, random = onnx.load(bundle.path / "encoder.onnx"), np.random.default_rng(seed)
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype.kind == "f" and values.size > 1:
            shuffled: npt.NDArray[np.floating] = random.permutation(values.reshape(-1)).reshape(values.shape)
            weight.CopyFrom(numpy_helper.from_array(shuffled, weight.name))
    path = folder / "encoder.onnx"
    onnx.save(model, path)
    session = open_session(path, SessionOptions(provider="cpu"))
    return LatentEncoder(session, bundle.spec.shape, bundle.manifest.latent_dimension)
