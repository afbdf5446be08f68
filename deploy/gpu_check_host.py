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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from med3d_cli.capacity.measured import GpuBatch, GpuCosts, shipped_costs
from med3d_pipeline.errors import PipelineError
from med3d_pipeline.runtime.gpu_libraries import load_gpu_libraries

FULL, EMPTY = "full", "nothing could be taken"
LARGEST_PIECE_BYTES, SMALLEST_PIECE_BYTES = 2**28, 2**20


def take_all(take: Callable[[int], Any]) -> list[Any]:
    """Pieces that ``take`` gave for numbers of bytes, ever smaller, until it gives no more."""
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
    """GPU, driver, processor's cores and versions, in one line."""
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


def write_costs(path: Path, provider: str, head_s: float, speeds: Mapping[int, float]) -> None:
    """Write the shipped table of costs with this GPU's in it. Raises PipelineError where it cannot be written."""
    gpu = GpuCosts(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        command="deploy/gpu-check",
        machine=machine_said(),
        provider=provider,
        head_s=head_s,
        encoding=tuple(GpuBatch(heads=heads, head_s=each_s) for heads, each_s in speeds.items()),
    )
    table = shipped_costs().model_copy(update={"gpu": gpu})
    try:
        path.write_text(json.dumps(table.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    hold_device(int(sys.argv[1]))
