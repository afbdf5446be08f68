"""What the decoder cannot show of a head: noise, holes, whatever no training head had in that place."""

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InferenceError
from med3d_pipeline.inference.encoder import Float32, Session


class Reconstruction:
    """decoder.onnx: ``latent`` (N, d) float32 to ``tensor`` (N, 1, X, Y, Z) float32.

    brain: (X, Y, Z) bool, the voxels that are compared; outside the brain every tensor is zero.
    """

    def __init__(self, session: Session, brain: npt.NDArray[np.bool_]) -> None:
        self._session = session
        self._brain = brain

    def errors(self, tensors: Float32, latents: Float32) -> npt.NDArray[np.float64]:
        """Root mean square difference (N,) of tensors (N, X, Y, Z) from what the decoder makes of their latents (N, d).

        In the tensor's unit. Raises InferenceError where the decoder gives another shape or values that are not finite.
        """
        if not len(latents):
            return np.empty(0)
        made = self._session.run({"latent": np.ascontiguousarray(latents, np.float32)})["tensor"]
        if made.shape != (len(latents), 1, *self._brain.shape) or not np.isfinite(made).all():
            raise InferenceError("the decoder gave heads that are not finite or of another shape")
        squared = np.square(made[:, 0][:, self._brain] - tensors[:, self._brain], dtype=np.float64)
        return np.asarray(np.sqrt(squared.mean(axis=1)))
