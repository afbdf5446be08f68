"""What deploy/gpu-check runs: the shipped bundle on this host's GPU. Exit code 1 where a check fails.

``--provider cpu`` or ``openvino`` tries the script itself where there is no GPU; the check of memory is left out there.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import TrustedKeys
from med3d_pipeline.errors import DeviceMemoryError, PipelineError
from med3d_pipeline.runtime.fixed_batches import FixedBatches
from med3d_pipeline.runtime.onnx_sessions import OnnxSession, SessionOptions, open_session

BATCHES = (1, 2, 4, 8, 16, 32, 64)
LARGEST_BATCH = 4096
TIGHT_LIMIT_BYTES = 2**28
LARGEST_DIFFERENCE = 1e-3
"""Of latents between the GPU and the CPU, relative to their spread: float32 with other sums."""

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """The host's session and what it is held against."""

    path: Path
    options: SessionOptions
    bundle: Bundle

    def tensors(self, count: int) -> Float32:
        """Tensors (count, 1, X, Y, Z), not heads: nothing is said of them but that both providers agree."""
        return np.random.default_rng(1).random((count, 1, *self.bundle.spec.shape), dtype=np.float32)

    def session(self, **changes: object) -> OnnxSession:
        """A session of the encoder with the options of the command line and ``changes``."""
        options = SessionOptions(**{**vars(self.options), **changes})  # type: ignore[arg-type]
        return open_session(self.path / "encoder.onnx", options)

    def provider(self) -> str:
        """What the session itself says: ONNX Runtime falls back to the CPU almost silently."""
        return ", ".join(self.session().providers)

    def reference_case(self) -> str:
        """The bundle's own head from voxels to years."""
        return str(self.bundle.run_reference_case())

    def agreement(self) -> str:
        """Latents here and by ONNX Runtime's CPU kernels."""
        given = {"tensor": self.tensors(8)}
        here, there = (session.run(given)["latent"] for session in (self.session(), self.session(provider="cpu")))
        difference = float(np.abs(here - there).max() / there.std())
        if difference > LARGEST_DIFFERENCE:
            raise PipelineError(f"latents differ by {difference:.1e} of their spread")
        return f"latents differ by at most {difference:.1e} of their spread"

    def speed(self) -> str:
        """Milliseconds per head in batches of fixed shape, after a warm-up."""
        session, said, best = self.session(), [], float("inf")
        for batch in BATCHES:
            given = {"tensor": self.tensors(batch)}
            try:
                session.run(given)
                started = time.perf_counter()
                for _ in range(10):
                    session.run(given)
            except DeviceMemoryError:
                said.append(f"{batch}: no memory")
                break
            each_ms = (time.perf_counter() - started) * 100 / batch
            best = min(best, each_ms)
            said.append(f"{batch}: {each_ms:.2f}")
        return f"ms per head by batch: {', '.join(said)}; best: {best:.2f}"

    def full_memory(self) -> str:
        """Under a tight limit a batch that does not fit is halved, and the answers stay the same."""
        if not self.session().on_gpu:
            return "left out: no GPU computes here"
        expected = self.session().run({"tensor": self.tensors(8)})["latent"]
        tight = self.session(gpu_mem_limit_bytes=TIGHT_LIMIT_BYTES)
        batches = FixedBatches(tight, LARGEST_BATCH)
        found = batches.run({"tensor": self.tensors(8)})["latent"]
        if batches.batch == LARGEST_BATCH:
            raise PipelineError(
                f"a batch of {LARGEST_BATCH} fitted into {TIGHT_LIMIT_BYTES // 2**20} MiB: no limit holds"
            )
        if not np.allclose(expected, found, atol=LARGEST_DIFFERENCE * float(expected.std())):
            raise PipelineError("the answers of smaller batches differ")
        return (
            f"{LARGEST_BATCH} heads do not fit into {TIGHT_LIMIT_BYTES // 2**20} MiB, {batches.batch} do; same answers"
        )


def main() -> int:
    """Run the checks in order; the number of those that failed, as an exit code."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--provider", default="cuda", help="tensorrt, cuda, openvino, cpu; several by commas")
    given.add_argument("--device", type=int, default=0)
    chosen = given.parse_args()
    options = SessionOptions(provider=chosen.provider, device=chosen.device)
    path = Bundle.default_path()
    bundle = Bundle.open(path, chosen.provider, device=chosen.device, trusted=TrustedKeys.read())
    check = Check(path, options, bundle)
    steps: dict[str, Callable[[], str]] = {
        "provider": check.provider,
        "reference case": check.reference_case,
        "beside the CPU": check.agreement,
        "speed": check.speed,
        "full memory": check.full_memory,
    }
    failed = 0
    for name, step in steps.items():
        try:
            print(f"ok      {name}: {step()}")
        except PipelineError as error:
            failed += 1
            print(f"FAILED  {name}: {error}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
