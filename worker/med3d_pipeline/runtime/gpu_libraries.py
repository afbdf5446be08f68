"""CUDA, cuDNN and TensorRT as wheels bring them: loaded before the first session, so that a host needs only a driver.

The dynamic linker does not look into site-packages. What has been loaded once by its path is found by its name.
"""

import contextlib
import importlib
import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import PurePath
from typing import Any, Protocol

from med3d_pipeline.installing import install_command

_NOT_LOADED = re.compile(r"^Failed to load ([^:\s]+):", re.MULTILINE)


class PreloadsLibraries(Protocol):
    """The part of the module onnxruntime that is used here, or a fake of it."""

    def preload_dlls(self) -> None:
        """Load CUDA and cuDNN from the wheels named nvidia-*, else from the system's folders; prints what fails."""


@cache
def load_gpu_libraries(runtime: PreloadsLibraries) -> tuple[str, ...]:
    """Load CUDA and cuDNN, once per process; names of the libraries that are nowhere, such as libcublas.so.13."""
    said = io.StringIO()
    # The runtime prints to the standard output, where commands write their JSON.
    with contextlib.redirect_stdout(said):
        runtime.preload_dlls()
    return tuple(dict.fromkeys(PurePath(name).name for name in _NOT_LOADED.findall(said.getvalue())))


def load_tensorrt_libraries(import_module: Callable[[str], Any] = importlib.import_module) -> bool:
    """Load TensorRT from the wheel tensorrt-cu13-libs, after CUDA; False where it is not installed.

    The wheel loads its libraries when it is imported. The system's own TensorRT needs nothing of this.
    """
    try:
        import_module("tensorrt_libs")
    except ImportError:
        return False
    return True


def missing_libraries_hint(missing: tuple[str, ...], *, tensorrt: bool = True) -> str:
    """Say what whoever asked for a GPU and did not get it lacks; empty where nothing was missing.

    tensorrt: False where TensorRT was asked for and its wheel is not there.
    """
    said = []
    if missing:
        said.append(
            f"Not found: {', '.join(missing)}. CUDA 13 and cuDNN 9 come by {install_command('worker-gpu')}; the host "
            "needs NVIDIA's driver 580 or newer."
        )
    if not tensorrt:
        said.append(
            "TensorRT's wheel is not installed (docs/scale-out.md says which): install it, or take tensorrt out of "
            "MED3D_PROVIDER."
        )
    return " ".join(said)
