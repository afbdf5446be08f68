"""ONNX Runtime sessions that compute where and in the precision that they were told to, or say why not."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import BundleError, DeviceMemoryError, InferenceError
from med3d_pipeline.installing import install_command
from med3d_pipeline.runtime.gpu_libraries import (
    load_gpu_libraries,
    load_tensorrt_libraries,
    missing_libraries_hint,
)
from med3d_pipeline.runtime.memory_faults import says_memory_ended

Tensor = npt.NDArray[np.float32]
Precision = Literal["float32", "bfloat16"]
PRECISIONS: Mapping[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
"""By OpenVINO's words for them."""
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})

RUNTIME_WHEELS = frozenset(
    {
        "onnxruntime",
        "onnxruntime-directml",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-qnn",
        "onnxruntime-rocm",
        "onnxruntime-training",
    }
)
"""Wheels that all install into the one folder ``onnxruntime`` and overwrite each other's files."""

PROVIDER_KEYS: Mapping[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_AUTO = ("cuda", "openvino", "cpu")
"""TensorRT only where it is asked for: its wheel names it even where its libraries are missing."""
_ON_GPU = frozenset({PROVIDER_KEYS["tensorrt"], PROVIDER_KEYS["cuda"]})
_FATAL_ONLY = 4
"""Of the runtime's log. What a run fails of is raised, and handled: a batch that does not fit is halved. Below it lie
remarks on graphs, such as which operators a provider leaves to the CPU."""


class OnnxSession:
    """One network, loaded: named inputs to named outputs, all float32.

    device: where a session on a GPU keeps inputs and outputs, such as ("cuda", 0); None where memory is the host's.
    """

    def __init__(self, session: Any, device: tuple[str, int] | None = None) -> None:
        self._session = session
        self._output_names = [output.name for output in session.get_outputs()]
        self._bound = None if device is None else BoundBuffers(session, device)

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes, first choice first, as the session itself says."""
        return tuple(self._session.get_providers())

    @property
    def on_gpu(self) -> bool:
        """Whether the first choice computes on a GPU."""
        return self.providers[0] in _ON_GPU

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the network once.

        Raises DeviceMemoryError when the device has no memory left for it, InferenceError when the runtime fails.
        """
        try:
            if self._bound is not None:
                outputs = self._bound.run(inputs)
            else:
                outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:  # the runtime's exceptions share no base class
            if says_memory_ended(str(error)):
                raise DeviceMemoryError("the device has no memory left for this batch") from error
            raise InferenceError(f"ONNX Runtime failed on the input: {type(error).__name__}") from error
        return dict(zip(self._output_names, outputs, strict=True))


class BoundBuffers:
    """Inputs that stay on the device, one buffer for each shape, so that a batch costs one copy in and one copy out."""

    def __init__(self, session: Any, device: tuple[str, int]) -> None:
        self._session = session
        self._device = device
        self._inputs: dict[tuple[str, tuple[int, ...]], Any] = {}

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the outputs in the session's order, in the host's memory."""
        try:
            return self._run_bound(inputs)
        except Exception:
            # A batch that did not fit leaves its buffers behind, and a smaller one needs that memory.
            self._inputs.clear()
            raise

    def _run_bound(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        binding = self._session.io_binding()
        for name, tensor in inputs.items():
            binding.bind_ortvalue_input(name, self._filled(name, np.ascontiguousarray(tensor)))
        for output in self._session.get_outputs():
            binding.bind_output(output.name, *self._device)
        self._session.run_with_iobinding(binding)
        outputs: list[Tensor] = binding.copy_outputs_to_cpu()
        return outputs

    def _filled(self, name: str, tensor: Tensor) -> Any:
        from onnxruntime import OrtValue

        key = (name, tensor.shape)
        if key in self._inputs:
            self._inputs[key].update_inplace(tensor)
        else:
            self._inputs[key] = OrtValue.ortvalue_from_numpy(tensor, *self._device)
        return self._inputs[key]


@dataclass(frozen=True)
class SessionOptions:
    """How a session computes.

    provider: "auto" takes CUDA where that wheel is installed, else OpenVINO, else ONNX Runtime's own CPU kernels. A
    name (tensorrt, cuda, openvino, cpu) takes that or nothing; several, separated by commas, take the first that works.
    threads: of one inference; the operators inside one network share them. device: which GPU. gpu_mem_limit_bytes: of
    one session's arena; None leaves it to the runtime, which takes what it gets. mask_precision: of the brain mask's
    network, most of a head's time; all else is computed in float32.
    """

    provider: str = "auto"
    threads: int = 2
    device: int = 0
    gpu_mem_limit_bytes: int | None = None
    mask_precision: Precision = "float32"


def installed_runtime_wheels(path: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the ONNX Runtime wheels in the folders of ``path``; without it, in those that Python imports from.

    Looked for by name: to read what every installed package says of itself takes longer than to load a network.
    """
    folders = list(sys.path if path is None else path)
    return tuple(sorted(name for name in RUNTIME_WHEELS if any(distributions(name=name, path=folders))))


def require_one_runtime(wheels: tuple[str, ...]) -> None:
    """Raise BundleError, with the commands that mend it, unless exactly one ONNX Runtime wheel is installed."""
    if not wheels:
        raise BundleError(
            f"No ONNX Runtime is installed. Install the worker: {install_command('worker')}; with worker-gpu in place "
            "of worker for an NVIDIA GPU."
        )
    if len(wheels) > 1:
        keep = next((w for w in ("onnxruntime-gpu", "onnxruntime-openvino") if w in wheels), wheels[0])
        raise BundleError(
            f"{len(wheels)} ONNX Runtime wheels are installed ({', '.join(wheels)}); they share one folder and break "
            f"each other. Keep one: pip uninstall -y {' '.join(wheels)} && pip install --force-reinstall --no-deps "
            f"'{keep}'"
        )


def open_session(
    model: Path | bytes, options: SessionOptions = SessionOptions(), sizes: Mapping[str, int] = MappingProxyType({}),
    precision: Precision = "float32",
) -> OnnxSession:  # fmt: skip
    """Load ``model`` (a file or its bytes).

    sizes: of the network's dynamic axes, by the names that they have in it, where the caller feeds no other: a network
    of known size computes about a sixth quicker.

    Raises BundleError when the environment holds none or several ONNX Runtime wheels, when no wanted provider is there
    or each is lost silently, when the model cannot be loaded, and when provider or processor have no such precision.
    """
    require_one_runtime(installed_runtime_wheels())
    # Imported only now: with two wheels installed the import itself may fail, and the message above would be lost.
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    settings = runtime_settings(onnxruntime, options.threads)
    for axis, size in sizes.items():
        settings.add_free_dimension_override_by_name(axis, size)
    source = model if isinstance(model, bytes) else str(model)

    def load(name: str) -> Any:
        chosen = [(one, provider_settings(one, options, precision)) for one in _with_companions(name)]
        # Its fallback would go on with another provider, in the middle of a worker's life and in print alone.
        return onnxruntime.InferenceSession(source, settings, providers=chosen, enable_fallback=0)

    names = resolve_providers(options.provider, tuple(onnxruntime.get_available_providers()))
    if precision == "bfloat16":
        require_bfloat16(names, processor_flags())
    session = first_that_computes(names, load, _prepare_gpu(onnxruntime, names))
    on_gpu = session.get_providers()[0] in _ON_GPU
    return OnnxSession(session, ("cuda", options.device) if on_gpu else None)


def runtime_settings(runtime: Any, threads: int) -> Any:
    """Make SessionOptions of the module ``runtime``: ``threads`` within an operator, and only fatal faults printed."""
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    return settings


def _prepare_gpu(runtime: Any, names: Sequence[str]) -> str:
    """Load the libraries of the GPU providers among ``names``; a sentence on what is missing, or nothing."""
    if not _ON_GPU.intersection(names):
        return ""
    missing = load_gpu_libraries(runtime)
    tensorrt = PROVIDER_KEYS["tensorrt"] not in names or load_tensorrt_libraries()
    return missing_libraries_hint(missing, tensorrt=tensorrt)


def first_that_computes(names: Sequence[str], load: Callable[[str], Any], hint: str = "") -> Any:
    """Return the session of the first provider that loads the network and really computes with it.

    Raises BundleError for none, with each one's reason and ``hint``.
    """
    faults = []
    for name in names:
        try:
            session = load(name)
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no base class
            full = says_memory_ended(str(error))
            reason = "the device has no memory left for it" if full else type(error).__name__
            faults.append(f"ONNX Runtime cannot load the network with {name}: {reason}")
            continue
        try:
            require_provider(name, tuple(session.get_providers()))
        except BundleError as error:
            faults.append(str(error))
            continue
        return session
    raise BundleError(" ".join((*faults, hint)).strip())


def resolve_providers(wanted: str, available: tuple[str, ...]) -> tuple[str, ...]:
    """Return ONNX Runtime's names of the providers to try, in order.

    Raises BundleError for a name that there is not, and when none of ``wanted`` is in the installed wheel.
    """
    if wanted == "auto":
        return (next(name for key in _AUTO if (name := PROVIDER_KEYS[key]) in available),)
    keys = [key.strip() for key in wanted.split(",")]
    if unknown := [key for key in keys if key not in PROVIDER_KEYS]:
        known = ", ".join(("auto", *PROVIDER_KEYS))
        raise BundleError(f"There is no provider {unknown[0]!r}; choose among {known}, or several by commas.")
    names = tuple(PROVIDER_KEYS[key] for key in keys)
    if not (there := tuple(name for name in names if name in available)):
        raise BundleError(f"The installed ONNX Runtime has no {' or '.join(names)}; it has {', '.join(available)}.")
    return there


def require_provider(name: str, session_providers: tuple[str, ...]) -> None:
    """Raise BundleError when the session fell back to another provider, which ONNX Runtime does almost silently."""
    if not session_providers or session_providers[0] != name:
        raise BundleError(
            f"{name} was asked for, but ONNX Runtime computes with {', '.join(session_providers) or 'nothing'}. "
            "Check the driver and its libraries, or choose another provider."
        )


def _with_companions(name: str) -> tuple[str, ...]:
    """TensorRT leaves what it does not know to CUDA; without that it would go to the CPU."""
    return (name, PROVIDER_KEYS["cuda"]) if name == PROVIDER_KEYS["tensorrt"] else (name,)


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return what the processor says that it can do, in Linux's words; nothing where that cannot be read."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.lower().startswith(("flags", "features"))), "").split())


def require_bfloat16(names: Sequence[str], flags: frozenset[str]) -> None:
    """Raise BundleError unless OpenVINO computes, on a processor that multiplies bfloat16: else it would be slower."""
    if tuple(names) != (PROVIDER_KEYS["openvino"],):
        raise BundleError(
            f"bfloat16 is computed by OpenVINO on a CPU, and here {' or '.join(names)} computes: "
            "set MED3D_MASK_PRECISION=float32."
        )
    if not flags & _BFLOAT16_FLAGS:
        raise BundleError("This processor does not multiply bfloat16: set MED3D_MASK_PRECISION=float32.")


def provider_settings(name: str, options: SessionOptions, precision: Precision = "float32") -> dict[str, str]:
    """Return a provider's options, in ONNX Runtime's words: the precision that was asked for, and bounded memory."""
    if name == PROVIDER_KEYS["openvino"]:
        # OpenVINO takes bfloat16 by itself on processors that have it; a bundle's tolerances are for float32.
        hint = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision], "INFERENCE_NUM_THREADS": str(options.threads)}
        return {"device_type": "CPU", "num_streams": "1", "load_config": json.dumps({"CPU": hint})}
    limit = options.gpu_mem_limit_bytes
    if name == PROVIDER_KEYS["cuda"]:
        # The arena grows by what was asked for: doubling, its default, takes memory that the next session needs.
        memory = {"arena_extend_strategy": "kSameAsRequested"}
        if limit is not None:
            memory["gpu_mem_limit"] = str(limit)
        return {"device_id": str(options.device), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"} | memory
    if name == PROVIDER_KEYS["tensorrt"]:
        workspace = {} if limit is None else {"trt_max_workspace_size": str(limit)}
        return {"device_id": str(options.device), "trt_fp16_enable": "0", "trt_int8_enable": "0"} | workspace
    return {}
