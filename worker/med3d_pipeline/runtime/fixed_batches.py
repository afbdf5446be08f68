"""Batches of one shape on a GPU: every new shape costs a search for algorithms and another piece of its memory."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import InferenceError

Float32 = npt.NDArray[np.float32]


class RunsBatches(Protocol):
    """What is wrapped: OnnxSession, or a fake."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes."""

    def run(self, inputs: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return named inputs to named outputs; raises InferenceError."""


class FixedBatches:
    """Runs any number of inputs (N, ...) in batches of exactly ``batch``, the last one filled up with zeros.

    A batch that fails is run again in halves, whatever the runtime says of it: how it words that memory ended changes
    with its version. A size at which batches are answered is kept; where a single input fails, size was not the cause.
    """

    def __init__(self, session: RunsBatches, batch: int) -> None:
        self._session = session
        self._batch = batch

    @property
    def batch(self) -> int:
        """How many go at once now."""
        return self._batch

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes."""
        return self._session.providers

    def run(self, inputs: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return named outputs (N, ...). Raises the InferenceError of a single input that fails on its own."""
        count = len(next(iter(inputs.values())))
        parts: list[dict[str, Float32]] = []
        done, before = 0, self._batch
        while done < count:
            try:
                outputs = self._run_halving({name: whole[done:] for name, whole in inputs.items()})
            except InferenceError:
                self._batch = before  # halves that were answered held none of the input that fails
                raise
            parts.append(outputs)
            done += len(next(iter(outputs.values())))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run_halving(self, inputs: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return the outputs of the first inputs, as many as one batch takes."""
        batch = self._batch
        while True:
            part = {name: _filled_up(whole[:batch], batch) for name, whole in inputs.items()}
            try:
                outputs = self._session.run(part)
            except InferenceError:
                if batch == 1:
                    raise
                batch //= 2
                continue
            self._batch = batch
            taken = min(batch, len(next(iter(inputs.values()))))
            return {name: output[:taken] for name, output in outputs.items()}


def _filled_up(part: Float32, size: int) -> Float32:
    if len(part) == size:
        return part
    filled = np.zeros((size, *part.shape[1:]), np.float32)
    filled[: len(part)] = part
    return filled
