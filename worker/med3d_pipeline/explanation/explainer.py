"""The head some years older and younger as the decoder has it, and what each group of regions does to its estimate."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from med3d_pipeline.errors import InferenceError
from med3d_pipeline.explanation.ageing import Floats, ageing_pattern
from med3d_pipeline.explanation.region_table import RegionTable
from med3d_pipeline.inference.encoder import Float32, LatentEncoder, Session
from med3d_pipeline.inference.heads import RegressionHead
from med3d_pipeline.inference.latent_space import LatentSpace

STEP_YEARS = 10.0


class RegionYears(NamedTuple):
    """Years that a group of regions adds to an estimate, beside heads of that age, and their spread among those."""

    name: str
    years: float
    usual_spread_years: float


@dataclass(frozen=True, eq=False)
class Attribution:
    """The gap, without what age alone explains of it, in years by region; ``rest_years`` is what no region explains.

    age_years: of the person; None: the estimate is held against the cohort's mean age instead.
    """

    age_years: float | None
    total_years: float
    rest_years: float
    regions: tuple[RegionYears, ...]


class VentricleMillilitres(NamedTuple):
    """Fluid where ventricles may be: of the head younger, as it is, and older."""

    younger: float
    now: float
    older: float


@dataclass(frozen=True, eq=False)
class HeadExplanation:
    """head, younger, older: (X, Y, Z) float32 as the encoder takes them; difference: older minus head, unclipped.

    attribution, ventricles_ml: None where the bundle holds no table of regions.
    """

    head: Float32
    younger: Float32
    older: Float32
    difference: Float32
    attribution: Attribution | None
    ventricles_ml: VentricleMillilitres | None


class Explainer:
    """Explains one head at a time with a bundle's own encoder, decoder and age regression."""

    def __init__(
        self,
        encoder: LatentEncoder,
        decoder: Session,
        brain_age: RegressionHead,
        space: LatentSpace,
        regions: RegionTable | None,
        voxel_ml: float,
    ) -> None:
        self._encoder = encoder
        self.decoder = decoder
        self.brain_age = brain_age
        self._space = space
        self._regions = regions
        self._voxel_ml = voxel_ml

    def explain(self, tensor: Float32, age_years: float | None) -> HeadExplanation:
        """Explain a head (X, Y, Z) float32. Raises ValueError for another shape, InferenceError."""
        latent = self.latent(tensor)
        change = self.differences(latent, (STEP_YEARS, -STEP_YEARS))
        older, younger = np.maximum(tensor + change, 0.0)
        attribution = volumes = None
        if self._regions is not None:
            attribution = self._attribution(self._regions, tensor, latent, age_years)
            voxels = self._regions.ventricle_voxels(np.stack([younger, tensor, older]))
            volumes = VentricleMillilitres(*(float(count) * self._voxel_ml for count in voxels))
        return HeadExplanation(tensor, younger, older, change[0], attribution, volumes)

    def latent(self, tensor: Float32) -> Float32:
        """Return the latent (d,) of a head (X, Y, Z). Raises ValueError for another shape, InferenceError."""
        latent: Float32 = self._encoder.encode(tensor[None])[0]
        return latent

    def differences(self, latent: Float32, steps_years: tuple[float, ...]) -> Float32:
        """Return what the decoder changes (len(steps), X, Y, Z) where the latent (d,) ages by each step.

        InferenceError.
        """
        pattern = ageing_pattern(self._space, self.brain_age, latent)
        if pattern is None:
            raise InferenceError("the age estimate does not vary within the bundle's population")
        steps = np.array([0.0, *steps_years])[:, None] * pattern
        made = self.decode((latent + steps).astype(np.float32))
        change: Float32 = made[1:] - made[0]
        return change

    def decode(self, latents: Float32) -> Float32:
        """Return what the decoder draws (N, X, Y, Z) of latents (N, d).

        Raises InferenceError where it is not finite.
        """
        made: Float32 = self.decoder.run({"latent": np.ascontiguousarray(latents, np.float32)})["tensor"][:, 0]
        if not np.isfinite(made).all():
            raise InferenceError("the decoder gave values that are not finite")
        return made

    def region_effects(self, regions: RegionTable, tensor: Float32, latent: Float32) -> Floats:
        """Return what each group (k,) does to the estimate, in years, beside the mean head, which the decoder draws.

        The average of what is lost where the head's group becomes the mean head's (occlusion; Zeiler and Fergus, ECCV
        2014) and of what is gained where the mean head's becomes the head's: of effects of single groups and of pairs
        these are the Shapley values, which add up to the whole difference.
        """
        mean = self.decode(self._space.distance_mean[None].astype(np.float32))[0]
        change, heads = mean - tensor, [mean]
        for share in regions.weights:
            heads += [tensor + share * change, mean - share * change]
        # One at a time: a batch of all would hold two dozen heads' activations in memory at once.
        latents = [self.latent(head) for head in heads]
        of_head, of_mean, *others = self.brain_age.estimate(np.stack([latent, *latents])).astype(np.float64)
        lost, gained = of_head - np.array(others[0::2]), np.array(others[1::2]) - of_mean
        return np.asarray(0.5 * (lost + gained), dtype=np.float64)

    def _attribution(
        self, regions: RegionTable, tensor: Float32, latent: Float32, age_years: float | None
    ) -> Attribution:
        estimate = float(self.brain_age.estimate(latent[None])[0])
        held_against = float(regions.mean_age_years) if age_years is None else age_years
        total = self._space.corrected_gap(estimate - held_against, held_against)
        years = self.region_effects(regions, tensor, latent) - regions.usual_years(age_years)
        rows = zip(regions.names.tolist(), years.tolist(), regions.spreads.tolist(), strict=True)
        return Attribution(age_years, total, total - float(years.sum()), tuple(RegionYears(*row) for row in rows))
