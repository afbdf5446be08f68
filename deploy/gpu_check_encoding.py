"""The encoder on this host's device, as gpu_check.py asks of it: right, quick, and what happens when memory ends."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import DeviceMemoryError, InferenceError, PipelineError
from med3d_pipeline.runtime.fixed_batches import FixedBatches
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

BATCHES = (1, 2, 4, 8, 16, 32, 64)
FULL_BATCH = 64
TIGHT_LIMIT_BYTES = 2**28
TOO_LARGE = 4
"""A batch whose input alone is so many times the limit cannot fit."""
REPEATS = 10
LARGEST_DIFFERENCE = 1e-3
"""Of latents between the GPU and the CPU, relative to their spread: float32 with other sums."""

Float32 = npt.NDArray[np.float32]
Says = Callable[[str], None]


class Session(Protocol):
    """OnnxSession, or a fake."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes."""

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""

    def run(self, inputs: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return named inputs to named outputs."""


class LeftOutError(Exception):
    """A check that this host cannot be asked; its reason."""


@dataclass(frozen=True)
class Encoding:
    """The encoder under the options of the command line.

    open: a session for given options. shape: of one tensor (X, Y, Z). full_device: while it is open, the device has no
    memory left. batches: their sizes.
    """

    open: Callable[[SessionOptions], Session]
    options: SessionOptions
    shape: tuple[int, int, int]
    full_device: Callable[[], AbstractContextManager[None]]
    batches: tuple[int, ...] = BATCHES

    def tensors(self, count: int) -> Float32:
        """Return tensors (count, 1, X, Y, Z), not heads: nothing is said of them but that both providers agree."""
        return np.random.default_rng(1).random((count, 1, *self.shape), dtype=np.float32)

    def session(self) -> Session:
        """Return a session that computes with the chosen provider."""
        return self.open(self.options)

    def on_gpu(self) -> Session:
        """Return a session on a GPU; LeftOutError where there is none."""
        session = self.session()
        if not session.on_gpu:
            raise LeftOutError("no GPU computes here")
        return session

    def provider(self) -> str:
        """Return what the session itself says: ONNX Runtime falls back to the CPU almost silently."""
        return ", ".join(self.session().providers)

    def agreement(self) -> str:
        """Return latents here and by ONNX Runtime's CPU kernels."""
        given = {"tensor": self.tensors(8)}
        cpu = self.open(replace(self.options, provider="cpu"))
        here, there = (session.run(given)["latent"] for session in (self.session(), cpu))
        difference = float(np.abs(here - there).max() / there.std())
        if not difference <= LARGEST_DIFFERENCE:
            raise PipelineError(f"latents differ by {difference:.1e} of their spread")
        return f"latents differ by at most {difference:.1e} of their spread"

    def speed(self) -> dict[int, float]:
        """Measure batch size to seconds per head, after a warm-up; up to the first size that does not fit."""
        session, found = self.session(), {}
        for batch in self.batches:
            given = {"tensor": self.tensors(batch)}
            try:
                session.run(given)
                started = time.perf_counter()
                for _ in range(REPEATS):
                    session.run(given)
            except DeviceMemoryError:
                break
            found[batch] = (time.perf_counter() - started) / REPEATS / batch
        if not found:
            raise PipelineError("a single head does not fit")
        return found

    def memory_limit(self) -> str:
        """Under a tight limit a batch that does not fit is halved, and the answers stay the same."""
        expected = self.on_gpu().run({"tensor": self.tensors(8)})["latent"]
        large = 2 ** int(np.ceil(np.log2(TOO_LARGE * TIGHT_LIMIT_BYTES / (4 * np.prod(self.shape)))))
        batches = FixedBatches(self.open(replace(self.options, gpu_mem_limit_bytes=TIGHT_LIMIT_BYTES)), large)
        found = batches.run({"tensor": self.tensors(8)})["latent"]
        limit = f"{TIGHT_LIMIT_BYTES // 2**20} MiB"
        if batches.batch == large:
            raise PipelineError(f"a batch of {large} fitted into {limit}: no limit holds")
        _require_alike(expected, found)
        return f"{large} heads do not fit into {limit}, {batches.batch} do; same answers"

    def out_of_memory(self) -> str:
        """While another process holds the rest of the device, answers are right or named; after it, they come again."""
        session = self.on_gpu()
        given = {"tensor": self.tensors(FULL_BATCH)}
        expected = self.session().run(given)["latent"]
        session.run({"tensor": self.tensors(1)})
        batches = FixedBatches(session, FULL_BATCH)
        with self.full_device():
            try:
                _require_alike(expected, batches.run(given)["latent"])
                full = f"answered in batches of {batches.batch}"
            except DeviceMemoryError:
                full = "said that memory ended"
            except InferenceError as error:
                raise PipelineError(f"a full device is not understood: {error}: {error.__cause__}") from error
        _require_alike(expected, batches.run(given)["latent"])
        return f"on a full device: {full}; afterwards batches of {batches.batch}, same answers"


def _require_alike(expected: Float32, found: Float32) -> None:
    if not np.allclose(expected, found, atol=LARGEST_DIFFERENCE * float(expected.std())):
        raise PipelineError("the answers of smaller batches differ")
