"""Tensors to latents with the bundle's encoder.onnx."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InferenceError

Float32 = npt.NDArray[np.float32]


class Session(Protocol):
    """What the networks are run by: med3d_pipeline.runtime.onnx_sessions.OnnxSession, or a fake."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes."""

    def run(self, inputs: dict[str, Float32]) -> dict[str, Float32]:
        """Return named inputs to named outputs."""


class LatentEncoder:
    """encoder.onnx: ``tensor`` (N, 1, X, Y, Z) float32 to ``latent`` (N, d) float32, deterministic."""

    def __init__(self, session: Session, grid_shape: tuple[int, int, int], dimension: int) -> None:
        self._session = session
        self._grid_shape = grid_shape
        self._dimension = dimension

    @property
    def providers(self) -> tuple[str, ...]:
        """What the session computes with, first choice first."""
        return self._session.providers

    def encode(self, tensors: Float32) -> Float32:
        """Return latents (N, d) of tensors (N, X, Y, Z) on the bundle's grid.

        Raises ValueError for another shape, InferenceError where a tensor or a latent is not finite.
        """
        if tensors.ndim != 4 or tensors.shape[1:] != self._grid_shape:
            raise ValueError(f"tensors must be (N, {self._grid_shape}), not {tensors.shape}")
        if not len(tensors):
            return np.empty((0, self._dimension), np.float32)
        if not np.isfinite(tensors).all():
            raise InferenceError("a preprocessed tensor holds values that are not finite")
        latents = self._session.run({"tensor": np.ascontiguousarray(tensors[:, None], np.float32)})["latent"]
        if latents.shape != (len(tensors), self._dimension) or not np.isfinite(latents).all():
            raise InferenceError("the encoder gave latents that are not finite or of another shape")
        return latents
