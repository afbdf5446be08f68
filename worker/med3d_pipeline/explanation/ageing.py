"""The way along which a latent ages: the pattern of the age regression in the population, not its weights.

A regression's weights say how to read age off a latent, not what age does to it: they also cancel what has nothing to
do with age (Haufe et al., "On the interpretation of weight vectors of linear models in multivariate neuroimaging",
NeuroImage 2014). What goes with a year of the estimate is their pattern, equation 6 there for one estimate:

    a = S g / (g^T S g)

with the gradient g (d,) of the estimate at the head's latent and the covariance S (d, d) of the population's latents.
The step is as plausible as the population varies, and changes the estimate by one year to first order: g^T a = 1.
"""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.inference.encoder import Float32
from med3d_pipeline.inference.heads import RegressionHead
from med3d_pipeline.inference.latent_space import LatentSpace

Floats = npt.NDArray[np.float64]
GRADIENT_STEP = 0.1
"""Of the population's root mean square along a dimension: small against its spread, large against float32."""
LEAST_VARIANCE = 1e-12


def estimate_gradient(head: RegressionHead, latent: Float32, step: float) -> Floats:
    """Return years per unit of the latent (d,), by central differences: exact for a linear head.

    Raises InferenceError.
    """
    steps = np.eye(len(latent), dtype=np.float32) * np.float32(step)
    above, below = head.estimate(latent + steps), head.estimate(latent - steps)
    return (above.astype(np.float64) - below) / (2.0 * step)


def ageing_pattern(space: LatentSpace, head: RegressionHead, latent: Float32) -> Floats | None:
    """Change of the latent (d,) that goes with a year of the estimate.

    None where the estimate does not vary within the population. Raises InferenceError.
    """
    # Of the shrunk covariance the floor is no variance of the population's; the shrinkage's factor cancels.
    variances = np.maximum(space.distance_variances - space.distance_floor, 0.0)
    spread = float(np.sqrt(variances.sum() / space.dimension))
    if spread <= 0.0:
        return None
    gradient = estimate_gradient(head, latent, GRADIENT_STEP * spread)
    moved: Floats = space.distance_axes.T @ (variances * (space.distance_axes @ gradient))
    explained = float(gradient @ moved)
    return None if explained <= LEAST_VARIANCE else moved / explained
