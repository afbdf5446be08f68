"""A small latent space with known numbers, sessions that compute what a lambda says, and a predictor of both."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from med3d_pipeline.inference.encoder import LatentEncoder
from med3d_pipeline.inference.heads import RegressionHead
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import SIMULATED_LABELS, DecisionLimits
from med3d_pipeline.inference.prediction import Predictor
from med3d_pipeline.inference.reconstruction import Reconstruction
from med3d_pipeline.inference.site_shifts import SiteShifts

GRID = (2, 2, 1)
DIMENSION = 4
LIMITS = DecisionLimits(interval_level=0.9, review_percentile=95.0, refuse_distance=8.0, field_strength_tolerance_t=0.2)


@dataclass(frozen=True)
class FakeSession:
    """Runs ``compute`` on the only input and names the result."""

    output: str
    compute: Callable[[np.ndarray], np.ndarray]
    providers: tuple[str, ...] = ("FakeExecutionProvider",)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (given,) = inputs.values()
        return {self.output: self.compute(given)}


@dataclass(frozen=True)
class Scanner:
    field_strength_t: float | None = 3.0
    manufacturer: str | None = "Philips Medical Systems"
    model: str | None = None


def latent_space(subjects: int = 19, **changes: np.ndarray) -> LatentSpace:
    """Unit covariance about 0; residuals -9 .. 9 years, distances 0.25, 0.5 ..., gap = 10 - 0.2 age on average."""
    eye = np.eye(DIMENSION)
    nothing = np.zeros(DIMENSION)
    space = LatentSpace(
        pca_mean=nothing, pca_axes=eye[:2], pls_age_mean=nothing, pls_age_axes=eye[1:3],
        pls_sdmt_mean=nothing, pls_sdmt_axes=eye[2:4],
        cohort_pca=np.zeros((subjects, 2)), cohort_pls_age=np.zeros((subjects, 2)), cohort_pls_sdmt=np.zeros((subjects, 2)),
        distance_mean=nothing, distance_axes=eye[:2], distance_variances=np.ones(2), distance_floor=np.ones(()),
        held_out_distances=np.arange(1, subjects + 1) / 4.0,
        residuals=np.linspace(-9, 9, subjects), corrected_residuals=np.linspace(-6, 6, subjects),
        age_bias=np.array([10.0, -0.2]), ages=np.linspace(20, 80, subjects),
        field_strengths_t=np.array([3.0]), vendors=np.array(["PHILIPS"]),
    )  # fmt: skip
    return replace(space, **changes)


def predictor(
    space: LatentSpace | None = None,
    encode: Callable[[np.ndarray], np.ndarray] = lambda t: t.reshape(len(t), DIMENSION),
    age_head: Callable[[np.ndarray], np.ndarray] = lambda z: 50 + 10 * z[:, :1],
    sdmt_head: Callable[[np.ndarray], np.ndarray] | None = lambda z: 51 - 10 * z[:, :1],
    sdmt_evidence: str = SIMULATED_LABELS,
    decode: Callable[[np.ndarray], np.ndarray] | None = None,
    limits: DecisionLimits = LIMITS,
    site_shifts: SiteShifts | None = None,
) -> Predictor:
    """The latent is the flattened tensor; the brain age is 50 plus ten times its first value."""
    return Predictor(
        LatentEncoder(FakeSession("latent", encode), GRID, DIMENSION),
        RegressionHead("brain age", FakeSession("estimate", age_head)),
        RegressionHead("SDMT", FakeSession("estimate", sdmt_head)) if sdmt_head else None,
        sdmt_evidence if sdmt_head else None,
        space or latent_space(),
        limits,
        Reconstruction(FakeSession("tensor", decode), np.ones(GRID, dtype=bool)) if decode else None,
        site_shifts,
    )


def tensors(*latents: list[float]) -> np.ndarray:
    """One tensor per latent, on the grid of the fakes."""
    return np.array(latents, np.float32).reshape(len(latents), *GRID)
