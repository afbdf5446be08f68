"""What gpu_check.py asks of the host: a device without memory, its name, and the table of costs.

Run by itself, it fills a device and holds it until its standard input ends: ``python gpu_check_host.py DEVICE``.
"""

import datetime as dt
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from med3d_cli.capacity.measured import GpuBatch, GpuCosts, GpuWorkers, WorkerSeconds, shipped_costs
from med3d_pipeline.errors import PipelineError
from med3d_pipeline.runtime.gpu_libraries import load_gpu_libraries

if TYPE_CHECKING:
    from gpu_check_workers import Rate

FULL, EMPTY = "full", "nothing could be taken"
LARGEST_PIECE_BYTES, SMALLEST_PIECE_BYTES = 2**28, 2**20


def take_all(take: Callable[[int], Any]) -> list[Any]:
    """Yield pieces that ``take`` gave for numbers of bytes, ever smaller, until it gives no more."""
    held, size = [], LARGEST_PIECE_BYTES
    while size >= SMALLEST_PIECE_BYTES:
        try:
            held.append(take(size))
        except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class
            size //= 2
    return held


def hold_device(device: int) -> None:
    """Take the device's memory, say so, and hold it until standard input ends."""
    import numpy as np
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # that memory ends is what is wanted here
    load_gpu_libraries(onnxruntime)
    held = take_all(
        lambda size: onnxruntime.OrtValue.ortvalue_from_shape_and_type((size // 4,), np.float32, "cuda", device)
    )
    print(FULL if held else EMPTY, flush=True)
    sys.stdin.read()


class FullDevice:
    """While it is open, another process holds what the device had left. Its end gives all of it back."""

    def __init__(self, device: int, command: Sequence[str] = (sys.executable, __file__)) -> None:
        self._command = [*command, str(device)]

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = (self._holder.stdout.readline() if self._holder.stdout else "").strip()
        if said != FULL:
            self.__exit__()
            raise PipelineError(f"the device could not be filled: {said or 'the process that fills it ended'}")
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()


def machine_said() -> str:
    """Return GPU, driver, processor's cores and versions, in one line."""
    versions = []
    for name in ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime", "nvidia-cudnn-cu13", "numpy"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    here = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{_gpu_said()}; {here}; {', '.join(versions)}"


def _gpu_said() -> str:
    found = shutil.which("nvidia-smi")
    if found is None:
        return "no nvidia-smi"
    asked = [found, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip().replace("\n", " and ") or "nvidia-smi says nothing"


def device_bytes(device: int) -> int | None:
    """Return what is taken of the device's memory, by everybody; None where nobody says."""
    found = shutil.which("nvidia-smi")
    if found is None:
        return None
    asked = [found, f"--id={device}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    said = done.stdout.strip()
    return int(said) * 2**20 if said.isdecimal() else None


@dataclass(frozen=True)
class Found:
    """What was measured. encoding: batch size to seconds per head. rates: of workers, the most first."""

    provider: str
    encoding: Mapping[int, float] = field(default_factory=dict)
    head_s: float | None = None
    networks_s: float | None = None
    rates: tuple["Rate", ...] = ()


def write_costs(path: Path, found: Found) -> None:
    """Write the shipped table of costs with this GPU's in it. Raises PipelineError where it cannot be written."""
    if found.head_s is None:
        raise PipelineError("no head was answered, so there is no table")
    gpu = GpuCosts(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        command="deploy/gpu-check",
        machine=machine_said(),
        provider=found.provider,
        head_s=found.head_s,
        encoding=tuple(GpuBatch(heads=heads, head_s=each_s) for heads, each_s in found.encoding.items()),
        networks_s=found.networks_s,
        worker=_worker_seconds(found),
        shared=tuple(GpuWorkers(workers=rate.workers, studies_per_s=rate.per_s) for rate in found.rates),
    )
    table = shipped_costs().model_copy(update={"gpu": gpu})
    _write(path, json.dumps(table.model_dump(mode="json"), indent=2) + "\n")


def _worker_seconds(found: Found) -> WorkerSeconds | None:
    """Measure one among the most: the host is then as full as it gets.

    Handing over is the service's, as it was measured.
    """
    if not found.rates:
        return None
    most = found.rates[0]
    return WorkerSeconds(
        preprocess_s=most.prepared_s,
        preprocess_sd_s=most.prepared_sd_s,
        predict_s=most.predict_s,
        handover_s=shipped_costs().crowded.handover_s,
    )


def write_report(path: Path, found: Found, lines: Sequence[tuple[str, str, str]]) -> None:
    """Write everything as tables. Raises PipelineError where it cannot be written."""
    parts = [
        f"{dt.datetime.now(dt.UTC).date().isoformat()}, provider {found.provider}. {machine_said()}.",
        _table(("check", "", "found"), [(name, how, _in_a_cell(said)) for how, name, said in lines]),
    ]
    if found.encoding:
        cells = [(str(heads), f"{1000 * each_s:.2f}") for heads, each_s in found.encoding.items()]
        parts.append(_table(("heads in a batch", "encoder, ms a head"), cells))
    if found.rates:
        parts += [_rates_table(found.rates), _stages_table(found.rates)]
    _write(path, "\n\n".join(parts) + "\n")


def _rates_table(rates: Sequence["Rate"]) -> str:
    heading = (
        "workers", "studies", "studies/s", "a day", "preprocessing, s (sd)", "prediction, ms", "GB each",
        "GB of the device",
    )  # fmt: skip
    rows = [
        (
            str(rate.workers), str(rate.studies), f"{rate.per_s:.2f}", f"{86_400 * rate.per_s:,.0f}",
            f"{rate.prepared_s:.2f} ({rate.prepared_sd_s:.2f})", f"{1000 * rate.predict_s:.0f}",
            f"{rate.resident / 1e9:.2f}", "" if rate.device_bytes is None else f"{rate.device_bytes / 1e9:.1f}",
        )
        for rate in rates
    ]  # fmt: skip
    return _table(heading, rows)


def _stages_table(rates: Sequence["Rate"]) -> str:
    names = list(dict.fromkeys(name for rate in rates for name in rate.stages_s))
    heading = ("stage, s a study", *(f"{rate.workers} workers" for rate in rates))
    rows = [(name, *(f"{rate.stages_s.get(name, 0.0):.3f}" for rate in rates)) for name in names]
    return _table(heading, rows)


def _in_a_cell(said: str) -> str:
    return " ".join(said.replace("|", "/").split())


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *rows))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    hold_device(int(sys.argv[1]))
