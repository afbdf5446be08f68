"""Latents to estimates: the support vector regressions of the bundle as ONNX, scaler included."""

import numpy as np

from med3d_pipeline.errors import InferenceError
from med3d_pipeline.inference.encoder import Float32, Session


class RegressionHead:
    """heads/*.onnx: ``latent`` (N, d) float32 to ``estimate`` (N, 1) float32."""

    def __init__(self, name: str, session: Session) -> None:
        self.name = name
        self._session = session

    def estimate(self, latents: Float32) -> Float32:
        """Return estimates (N,) in the head's unit. Raises InferenceError where one is not finite."""
        if not len(latents):
            return np.empty(0, np.float32)
        estimates = self._session.run({"latent": np.ascontiguousarray(latents, np.float32)})["estimate"]
        if estimates.size != len(latents) or not np.isfinite(estimates).all():
            raise InferenceError(f"the {self.name} head gave estimates that are not finite or not one per latent")
        return estimates.reshape(len(latents))
