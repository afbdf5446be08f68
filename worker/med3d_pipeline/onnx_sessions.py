"""ONNX Runtime sessions that compute where they were told to, in float32, or say why not."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import BundleError, InferenceError

Provider = Literal["auto", "openvino", "cpu", "cuda"]
Tensor = npt.NDArray[np.float32]

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

_PROVIDER_NAMES: Mapping[str, str] = {
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}


class OnnxSession:
    """One network, loaded: named inputs to named outputs, all float32."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._output_names = [output.name for output in session.get_outputs()]

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes, first choice first, as the session itself says."""
        return tuple(self._session.get_providers())

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the network once. Raises InferenceError when the runtime fails on it."""
        try:
            outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:  # the runtime's exceptions share no base class
            raise InferenceError(f"ONNX Runtime failed on the input: {type(error).__name__}") from error
        return dict(zip(self._output_names, outputs, strict=True))


@dataclass(frozen=True)
class SessionOptions:
    """How a session computes.

    provider: "auto" takes CUDA where that wheel is installed, else OpenVINO, else ONNX Runtime's own CPU kernels.
    threads: of one inference; the operators inside one network share them.
    """

    provider: Provider = "auto"
    threads: int = 2


def installed_runtime_wheels(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Names of the installed ONNX Runtime wheels; ``names`` stands in for the environment's distributions in tests."""
    if names is None:
        names = (distribution.metadata["Name"] or "" for distribution in distributions())
    normalised = {name.lower().replace("_", "-") for name in names}
    return tuple(sorted(normalised & RUNTIME_WHEELS))


def require_one_runtime(wheels: tuple[str, ...]) -> None:
    """Raise BundleError, with the commands that mend it, unless exactly one ONNX Runtime wheel is installed."""
    if not wheels:
        raise BundleError(
            "No ONNX Runtime is installed. Install the worker: pip install 'infovae-med3d[worker]' (CPU) or "
            "pip install 'infovae-med3d[worker-gpu]' (NVIDIA GPU)."
        )
    if len(wheels) > 1:
        keep = next((w for w in ("onnxruntime-gpu", "onnxruntime-openvino") if w in wheels), wheels[0])
        raise BundleError(
            f"{len(wheels)} ONNX Runtime wheels are installed ({', '.join(wheels)}); they share one folder and break "
            f"each other. Keep one: pip uninstall -y {' '.join(wheels)} && pip install --force-reinstall --no-deps "
            f"'{keep}'"
        )


def open_session(model: Path | bytes, options: SessionOptions = SessionOptions()) -> OnnxSession:
    """Load ``model`` (a file or its bytes).

    Raises BundleError when the environment holds none or several ONNX Runtime wheels, when the wanted provider is not
    there or is lost silently, and when the model cannot be loaded.
    """
    require_one_runtime(installed_runtime_wheels())
    # Imported only now: with two wheels installed the import itself may fail, and the message above would be lost.
    import onnxruntime

    name = resolve_provider(options.provider, tuple(onnxruntime.get_available_providers()))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    chosen = [(name, _provider_settings(name, options.threads))]
    try:
        session = onnxruntime.InferenceSession(source, settings, providers=chosen)
    except Exception as error:  # the runtime's exceptions share no base class
        raise BundleError(f"ONNX Runtime cannot load the network with {name}: {type(error).__name__}") from error
    require_provider(name, tuple(session.get_providers()))
    return OnnxSession(session)


def resolve_provider(wanted: Provider, available: tuple[str, ...]) -> str:
    """ONNX Runtime's name of the provider to use. Raises BundleError when ``wanted`` is not in the installed wheel."""
    if wanted == "auto":
        preference = (_PROVIDER_NAMES[key] for key in ("cuda", "openvino", "cpu"))
        return next(name for name in preference if name in available)
    name = _PROVIDER_NAMES[wanted]
    if name not in available:
        raise BundleError(f"The installed ONNX Runtime has no {name}; it has {', '.join(available)}.")
    return name


def require_provider(name: str, session_providers: tuple[str, ...]) -> None:
    """Raise BundleError when the session fell back to another provider, which ONNX Runtime does almost silently."""
    if not session_providers or session_providers[0] != name:
        raise BundleError(
            f"{name} was asked for, but ONNX Runtime computes with {', '.join(session_providers) or 'nothing'}. "
            "Check the driver and its libraries, or choose another provider."
        )


def _provider_settings(name: str, threads: int) -> dict[str, str]:
    if name == _PROVIDER_NAMES["openvino"]:
        # OpenVINO takes bfloat16 by itself on processors that have it; a bundle's tolerances are for float32.
        precision = {"CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}}
        return {"device_type": "CPU", "num_streams": "1", "load_config": json.dumps(precision)}
    if name == _PROVIDER_NAMES["cuda"]:
        return {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return {}
