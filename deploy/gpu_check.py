"""What deploy/gpu-check runs: the bundle on this host's GPU. Exit code 1 where a check fails.

``--provider cpu`` or ``openvino`` tries the script itself where there is no GPU; what fills a GPU's memory is left out.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from gpu_check_host import FullDevice, write_costs

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import TrustedKeys
from med3d_pipeline.bundle.reference_case import ReferenceCase
from med3d_pipeline.errors import BundleError, DeviceMemoryError, InferenceError, InputRefused, PipelineError
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.runtime.fixed_batches import FixedBatches
from med3d_pipeline.runtime.onnx_sessions import SessionOptions, open_session
from med3d_pipeline.study.acquisition import Acquisition
from med3d_pipeline.volume import Volume

BATCHES = (1, 2, 4, 8, 16, 32, 64)
FULL_BATCH = 64
TIGHT_LIMIT_BYTES = 2**28
TOO_LARGE = 4
"""A batch whose input alone is so many times the limit cannot fit."""
REPEATS = 10
LARGEST_DIFFERENCE = 1e-3
"""Of latents between the GPU and the CPU, relative to their spread: float32 with other sums."""

Float32 = npt.NDArray[np.float32]


class Session(Protocol):
    """OnnxSession, or a fake."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes."""

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""

    def run(self, inputs: Mapping[str, Float32]) -> dict[str, Float32]:
        """Named inputs to named outputs."""


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
        """Tensors (count, 1, X, Y, Z), not heads: nothing is said of them but that both providers agree."""
        return np.random.default_rng(1).random((count, 1, *self.shape), dtype=np.float32)

    def session(self) -> Session:
        """A session that computes with the chosen provider."""
        return self.open(self.options)

    def on_gpu(self) -> Session:
        """A session on a GPU; LeftOutError where there is none."""
        session = self.session()
        if not session.on_gpu:
            raise LeftOutError("no GPU computes here")
        return session

    def provider(self) -> str:
        """What the session itself says: ONNX Runtime falls back to the CPU almost silently."""
        return ", ".join(self.session().providers)

    def agreement(self) -> str:
        """Latents here and by ONNX Runtime's CPU kernels."""
        given = {"tensor": self.tensors(8)}
        cpu = self.open(replace(self.options, provider="cpu"))
        here, there = (session.run(given)["latent"] for session in (self.session(), cpu))
        difference = float(np.abs(here - there).max() / there.std())
        if not difference <= LARGEST_DIFFERENCE:
            raise PipelineError(f"latents differ by {difference:.1e} of their spread")
        return f"latents differ by at most {difference:.1e} of their spread"

    def speed(self) -> dict[int, float]:
        """Batch size to seconds per head, after a warm-up; up to the first size that does not fit."""
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


@dataclass(frozen=True)
class EndToEnd:
    """Heads from voxels to answers: the bundle's reference head, each but the first and last with noise of its own."""

    bundle: Bundle
    heads: int

    def reference_case(self) -> str:
        """The bundle's own head from voxels to years."""
        return str(self.bundle.run_reference_case())

    def run(self) -> tuple[str, float]:
        """A sentence, and the seconds per head from tensors to answers."""
        head = ReferenceCase.load(self.bundle.path).volume
        began = time.perf_counter()
        tensors = np.stack([self.bundle.tensor(self._varied(head, number)) for number in range(self.heads)])
        preprocessed = time.perf_counter()
        subjects, scans = [SubjectAttributes()] * self.heads, [Acquisition()] * self.heads
        self.bundle.predictor().predict(tensors[:1], subjects[:1], scans[:1])  # sessions are made on first use
        started = time.perf_counter()
        answers = self.bundle.predictor().predict(tensors, subjects, scans)
        ended = time.perf_counter()
        refused = sum(isinstance(answer, InputRefused) for answer in answers)
        first, last = (self.bundle.estimates(self.bundle.latent(tensor))[0] for tensor in (tensors[0], tensors[-1]))
        if not abs(first - last) <= LARGEST_DIFFERENCE * abs(first):
            raise PipelineError(f"the same head, first and last, is {first:.3f} and {last:.3f} years old")
        before_s, each_s = (preprocessed - began) / self.heads, (ended - started) / self.heads
        said = (
            f"{self.heads} heads, {self.heads - refused} answered: preprocessing {before_s:.2f} s a head, one after "
            f"the other; from tensor to answer {1000 * each_s:.2f} ms a head"
        )
        return said, each_s

    def _varied(self, head: Volume, number: int) -> Volume:
        if number in {0, self.heads - 1}:
            return head
        noise = np.random.default_rng(number).normal(1.0, 0.01, head.voxels.shape).astype(np.float32)
        return Volume(head.voxels * noise, head.affine)


def _require_alike(expected: Float32, found: Float32) -> None:
    if not np.allclose(expected, found, atol=LARGEST_DIFFERENCE * float(expected.std())):
        raise PipelineError("the answers of smaller batches differ")


class Report:
    """Prints one line for each check and counts those that failed."""

    def __init__(self) -> None:
        self.failed = 0

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[Callable[[str], None]]:
        """Around one check, which hands what it found to the function that it is given."""
        try:
            yield lambda said: print(f"ok        {name}: {said}")
        except LeftOutError as reason:
            print(f"left out  {name}: {reason}")
        except PipelineError as error:
            self.failed += 1
            print(f"FAILED    {name}: {error}")


def check_provider(report: Report, provider: str, encoding: Encoding, whole: EndToEnd) -> dict[int, float]:
    """The checks that each provider stands; batch size to seconds per head."""
    found: dict[int, float] = {}
    with report.check(f"{provider}, provider") as say:
        say(encoding.provider())
    with report.check(f"{provider}, reference case") as say:
        say(whole.reference_case())
    with report.check(f"{provider}, beside the CPU") as say:
        say(encoding.agreement())
    with report.check(f"{provider}, ms per head by batch") as say:
        found = encoding.speed()
        said = ", ".join(f"{batch}: {1000 * each_s:.2f}" for batch, each_s in found.items())
        say(said if len(found) == len(encoding.batches) else f"{said}; no memory for more")
    return found


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--provider", default="cuda,tensorrt", help="by commas; those after the first where they are")
    given.add_argument("--device", type=int, default=0)
    given.add_argument("--heads", type=int, default=200, help="from voxels to answers; 0 leaves them out")
    given.add_argument("--batches", default=",".join(map(str, BATCHES)), help="sizes by commas")
    given.add_argument("--threads", type=int, default=8, help="of preprocessing")
    given.add_argument("--table", type=Path, default=Path("gpu-costs.json"), help="for med3d capacity --measured")
    return given.parse_args(arguments)


def check_further(report: Report, encoding: Encoding, path: Path, trusted: TrustedKeys) -> None:
    """The checks of a provider that this host may lack, such as TensorRT: each batch size makes an engine there."""
    provider = encoding.options.provider
    with report.check(provider):
        try:
            encoding.session()
        except BundleError as error:
            raise LeftOutError(str(error)) from error
        bundle = open_bundle(path, encoding.options, trusted)
        few = replace(encoding, batches=(encoding.batches[0], encoding.batches[-1]))
        check_provider(report, provider, few, EndToEnd(bundle, 0))


def open_bundle(path: Path, options: SessionOptions, trusted: TrustedKeys) -> Bundle:
    """The bundle, computing as the options say."""
    return Bundle.open(
        path, options.provider, options.threads, device=options.device, gpu_batch=FULL_BATCH, trusted=trusted
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks in order; 1 where one failed."""
    chosen = read_arguments(arguments)
    report, path, trusted = Report(), Bundle.default_path(), TrustedKeys.read()
    first, *further = chosen.provider.split(",")
    options = SessionOptions(first, chosen.threads, chosen.device)
    bundle = open_bundle(path, options, trusted)
    encoding = Encoding(
        partial(open_session, path / "encoder.onnx"), options, bundle.spec.shape, partial(FullDevice, chosen.device),
        tuple(int(size) for size in chosen.batches.split(",")),
    )  # fmt: skip
    whole = EndToEnd(bundle, chosen.heads)
    speeds = check_provider(report, first, encoding, whole)
    with report.check("memory limit") as say:
        say(encoding.memory_limit())
    with report.check("out of memory") as say:
        say(encoding.out_of_memory())
    if chosen.heads:
        with report.check("end to end") as say:
            said, head_s = whole.run()
            say(said)
            write_costs(chosen.table, first, head_s, speeds)
            print(f"table     med3d capacity --measured {chosen.table}")
    for provider in further:
        check_further(report, replace(encoding, options=replace(options, provider=provider)), path, trusted)
    return min(report.failed, 1)


if __name__ == "__main__":
    sys.exit(main())
