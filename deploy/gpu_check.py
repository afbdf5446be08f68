"""What deploy/gpu-check runs: the bundle on this host's GPU. Exit code 1 where a check fails.

``--provider cpu`` or ``openvino`` tries the script itself where there is no GPU; what fills a GPU's memory is left out.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from gpu_check_arguments import read_arguments
from gpu_check_encoding import (
    FULL_BATCH,
    LARGEST_DIFFERENCE,
    REPEATS,
    Encoding,
    LeftOutError,
    Says,
)
from gpu_check_host import Found, FullDevice, device_bytes, write_costs, write_report
from gpu_check_workers import Rate, WorkersOfOneDevice

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import TrustedKeys
from med3d_pipeline.bundle.reference_case import ReferenceCase
from med3d_pipeline.errors import BundleError, InputRefused, PipelineError
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.preprocessing.brain_extraction import BOX_GRID, MASK_GRID
from med3d_pipeline.runtime.onnx_sessions import SessionOptions, open_session
from med3d_pipeline.study.acquisition import Acquisition
from med3d_store.object_store import ObjectStore
from med3d_worker.settings import BundleSettings

HEADS_OF_A_WORKER = 6
"""Where fewer workers than the most share the device, each gets so many heads: it need not take as long."""
LEAST_NETWORK_LIMIT_BYTES, LARGEST_NETWORK_LIMIT_BYTES = 2**28, 2**34


@dataclass(frozen=True)
class Heads:
    """The bundle's own head, and its tensor as ``batch`` others."""

    bundle: Bundle
    batch: int = FULL_BATCH

    def reference_case(self) -> str:
        """Estimate years from voxels."""
        return str(self.bundle.run_reference_case())

    def from_tensors(self) -> float:
        """Return seconds per head from a tensor to an answer, in one full batch."""
        tensor = ReferenceCase.load(self.bundle.path).tensor
        drawn = np.random.default_rng(1).normal(1.0, 0.01, (self.batch, *tensor.shape)).astype(np.float32)
        drawn[[0, -1]] = 1.0
        tensors = drawn * tensor
        subjects, scans = [SubjectAttributes()] * self.batch, [Acquisition()] * self.batch
        predict = self.bundle.predictor().predict
        predict(tensors, subjects, scans)  # sessions are made on first use
        started = time.perf_counter()
        answers = predict(tensors, subjects, scans)
        each_s = (time.perf_counter() - started) / self.batch
        first, last = (
            np.nan if isinstance(a, InputRefused) else a.brain_age.estimate for a in (answers[0], answers[-1])
        )
        if not abs(first - last) <= LARGEST_DIFFERENCE * abs(first):
            raise PipelineError(f"the same head, first and last, is {first:.3f} and {last:.3f} years old")
        return each_s

    def networks(self) -> dict[str, float]:
        """Measure seconds of each brain network for a head, once its size is known."""
        networks, found = self.bundle.preprocessor().networks, {}
        for name, session, grid in (
            ("box", networks.box_session, BOX_GRID),
            ("mask", networks.mask_session, MASK_GRID),
        ):
            image = np.random.default_rng(1).random((1, 1, *grid), dtype=np.float32)
            session.run({"image": image})
            started = time.perf_counter()
            repeats = REPEATS if session.on_gpu else 1
            for _ in range(repeats):
                session.run({"image": image})
            found[name] = (time.perf_counter() - started) / repeats
        return found


def least_network_limit(options: SessionOptions, path: Path, trusted: TrustedKeys) -> str:
    """Return the least power of two as MED3D_GPU_MEM_LIMIT_BYTES with which the reference case is reproduced."""
    limit = LEAST_NETWORK_LIMIT_BYTES
    while limit <= LARGEST_NETWORK_LIMIT_BYTES:
        with contextlib.suppress(PipelineError):
            bundle = open_bundle(path, replace(options, gpu_mem_limit_bytes=limit), trusted)
            if not bundle.preprocessor().networks.mask_session.on_gpu:
                raise LeftOutError("no GPU computes here")
            return f"{limit // 2**20} MiB for each session suffice: {bundle.run_reference_case()}"
        limit *= 2
    raise PipelineError(f"not even {limit // 2**21} MiB suffice for a head's brain networks")


class Report:
    """Prints one line for each check, keeps it, and counts those that failed."""

    def __init__(self) -> None:
        self.failed = 0
        self.lines: list[tuple[str, str, str]] = []

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[Says]:
        """Wrap one check, which hands what it found to the function that it is given. The others go on after it."""
        started = time.perf_counter()
        try:
            yield lambda said: self._say("ok", name, said)
        except LeftOutError as reason:
            self._say("left out", name, str(reason))
        except PipelineError as error:
            self._fail(name, str(error))
        except Exception as error:  # noqa: BLE001 - the edge: the runtime's exceptions share no base class
            self._fail(name, f"{type(error).__name__}: {error}")
        print(f"          ({time.perf_counter() - started:.1f} s)", flush=True)

    def _fail(self, name: str, said: str) -> None:
        self.failed += 1
        self._say("FAILED", name, said)

    def _say(self, how: str, name: str, said: str) -> None:
        self.lines.append((how, name, said))
        print(f"{how:<10}{name}: {said}", flush=True)


def check_provider(report: Report, provider: str, encoding: Encoding, heads: Heads) -> dict[int, float]:
    """Return the checks that each provider stands; batch size to seconds per head."""
    found: dict[int, float] = {}
    with report.check(f"{provider}, provider") as say:
        say(encoding.provider())
    with report.check(f"{provider}, reference case") as say:
        say(heads.reference_case())
    with report.check(f"{provider}, beside the CPU") as say:
        say(encoding.agreement())
    with report.check(f"{provider}, ms per head by batch") as say:
        found = encoding.speed()
        said = ", ".join(f"{batch}: {1000 * each_s:.2f}" for batch, each_s in found.items())
        say(said if len(found) == len(encoding.batches) else f"{said}; no memory for more")
    return found


def check_further(report: Report, encoding: Encoding, path: Path, trusted: TrustedKeys) -> None:
    """Return the checks of a provider that this host may lack, such as TensorRT (an engine for each batch size)."""
    provider = encoding.options.provider
    with report.check(provider):
        try:
            encoding.session()
        except BundleError as error:
            raise LeftOutError(str(error)) from error
        bundle = open_bundle(path, encoding.options, trusted)
        few = replace(encoding, batches=(encoding.batches[0], encoding.batches[-1]))
        check_provider(report, provider, few, Heads(bundle))


def check_heads(report: Report, heads: Heads, found: Found) -> Found:
    """Return a head's time on the device: from tensors to answers, and in the brain networks."""
    with report.check("from tensor to answer") as say:
        found = replace(found, head_s=heads.from_tensors())
        say(f"{1000 * (found.head_s or 0):.2f} ms a head in batches of {heads.batch}")
    with report.check("brain networks, ms per head") as say:
        networks = heads.networks()
        found = replace(found, networks_s=sum(networks.values()))
        say(", ".join(f"{name}: {1000 * seconds:.1f}" for name, seconds in networks.items()))
    return found


def check_workers(report: Report, chosen: argparse.Namespace, provider: str, bundle: Path) -> tuple[Rate, ...]:
    """Send heads from stored working copies to stored answers, by ever fewer workers that share the device."""
    counts = sorted(set(chosen.workers), reverse=True)
    settings = BundleSettings(
        bundle=bundle, provider=provider, gpu_device=chosen.device, threads=1, gpu_mem_limit_bytes=chosen.mem_limit
    )
    heads = chosen.studies or [bundle / "reference_case" / "input.nii.gz"]
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory() as folder, report.check("workers") as say:
        url = f"file://{folder}/store"
        ObjectStore.make(url)
        before = device_bytes(chosen.device)
        with WorkersOfOneDevice(counts[0], (settings, url, Path(folder) / "scratch", heads)) as workers:
            say(f"{counts[0]} are ready")
            first = 0
            for count in counts:
                number = chosen.heads if count == counts[0] else min(chosen.heads, HEADS_OF_A_WORKER * count)
                with report.check(f"{count} workers") as say_rate:
                    copies = workers.write_copies(number, first)
                    first += number
                    rate = workers.measure(count, copies, partial(_taken_since, before, chosen.device))
                    rates.append(rate)
                    say_rate(str(rate))
                    if rate.faults:
                        raise PipelineError(f"{len(rate.faults)} faults, such as {rate.faults[0]}")
    return tuple(rates)


def _taken_since(before: int | None, device: int) -> int | None:
    now = device_bytes(device)
    return None if now is None or before is None else now - before


def check_memory(report: Report, encoding: Encoding, path: Path, trusted: TrustedKeys) -> None:
    """Return what happens when the device's memory ends."""
    with report.check("memory limit") as say:
        say(encoding.memory_limit())
    with report.check("memory limit of the brain networks") as say:
        encoding.on_gpu()  # no limit suffices where there is none
        say(least_network_limit(encoding.options, path, trusted))
    with report.check("out of memory") as say:
        say(encoding.out_of_memory())


def open_bundle(path: Path, options: SessionOptions, trusted: TrustedKeys) -> Bundle:
    """Return the bundle, computing as the options say."""
    return Bundle.open(
        path, options.provider, options.threads, device=options.device, gpu_batch=FULL_BATCH, trusted=trusted,
        gpu_mem_limit_bytes=options.gpu_mem_limit_bytes,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks in order; 1 where one failed. What was found is written after each part."""
    chosen = read_arguments(arguments, __doc__)
    try:
        return min(_check(chosen).failed, 1)
    except PipelineError as error:  # no bundle to check with, or no place for the report
        print(f"FAILED    {error}", flush=True)
        return 1


def _check(chosen: argparse.Namespace) -> Report:
    report, path, trusted = Report(), Bundle.default_path(), TrustedKeys.read()
    first, *further = chosen.provider
    options = SessionOptions(first, chosen.threads, chosen.device)
    bundle = open_bundle(path, options, trusted)
    encoding = Encoding(
        partial(open_session, path / "encoder.onnx"), options, bundle.spec.shape, partial(FullDevice, chosen.device),
        chosen.batches,
    )  # fmt: skip
    found, heads, parts = Found(first), Heads(bundle, max(2, *encoding.batches)), chosen.parts
    if "device" in parts:
        found = replace(found, encoding=check_provider(report, first, encoding, heads))
        found = check_heads(report, heads, found)
    if "workers" in parts and chosen.heads:
        found = replace(found, rates=check_workers(report, chosen, first, path))
    if found.head_s is not None:
        _keep(report, chosen, found)
    if "memory" in parts:
        check_memory(report, encoding, path, trusted)
        for provider in further:
            check_further(report, replace(encoding, options=replace(options, provider=provider)), path, trusted)
    write_report(chosen.report, found, report.lines)
    return report


def _keep(report: Report, chosen: argparse.Namespace, found: Found) -> None:
    """Write what is known by now: what comes next fills the device."""
    with report.check("table") as say:
        write_report(chosen.report, found, report.lines)
        write_costs(chosen.table, found)
        say(f"med3d capacity --gpu measured --measured {chosen.table}")


if __name__ == "__main__":
    sys.exit(main())
