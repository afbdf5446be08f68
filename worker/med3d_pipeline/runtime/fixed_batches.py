"""Batches of one shape on a GPU: every new shape costs a search for algorithms and another piece of its memory."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import DeviceMemoryError

Float32 = npt.NDArray[np.float32]


class RunsBatches(Protocol):
    """What is wrapped: OnnxSession, or a fake."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes."""

    def run(self, inputs: Mapping[str, Float32]) -> dict[str, Float32]:
        """Named inputs to named outputs; raises DeviceMemoryError."""


class FixedBatches:
    """Runs any number of inputs (N, ...) in batches of exactly ``batch``, the last one filled up with zeros.

    Where the device has no memory for a batch, batches are half as large from then on.
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
        """Named outputs (N, ...). Raises DeviceMemoryError when there is no memory for a single input."""
        count = len(next(iter(inputs.values())))
        parts: list[dict[str, Float32]] = []
        done = 0
        while done < count:
            taken = min(self._batch, count - done)
            part = {name: _filled_up(whole[done : done + taken], self._batch) for name, whole in inputs.items()}
            try:
                outputs = self._session.run(part)
            except DeviceMemoryError:
                if self._batch == 1:
                    raise
                self._batch //= 2
                continue
            parts.append({name: output[:taken] for name, output in outputs.items()})
            done += taken
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _filled_up(part: Float32, size: int) -> Float32:
    if len(part) == size:
        return part
    filled = np.zeros((size, *part.shape[1:]), np.float32)
    filled[: len(part)] = part
    return filled
