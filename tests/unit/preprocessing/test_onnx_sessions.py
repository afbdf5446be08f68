"""Which ONNX Runtime computes, and what is said when it is not the one that was asked for."""

import numpy as np
import pytest

from factories.brain_networks import FakeRuntimeSession
from med3d_pipeline.errors import BundleError, InferenceError
from med3d_pipeline.onnx_sessions import (
    OnnxSession,
    installed_runtime_wheels,
    require_one_runtime,
    require_provider,
    resolve_provider,
)

OPENVINO, CUDA, CPU = "OpenVINOExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


def test_exactly_one_runtime_wheel_is_installed_here() -> None:
    assert len(installed_runtime_wheels()) == 1


def test_runtime_wheels_are_found_whatever_their_name_s_spelling() -> None:
    assert installed_runtime_wheels(["ONNXRuntime_GPU", "numpy", "onnxruntime-openvino"]) == (
        "onnxruntime-gpu",
        "onnxruntime-openvino",
    )


def test_two_runtime_wheels_are_an_error_that_says_how_to_mend_it() -> None:
    with pytest.raises(BundleError) as caught:
        require_one_runtime(("onnxruntime", "onnxruntime-openvino"))
    message = str(caught.value)
    assert "pip uninstall -y onnxruntime onnxruntime-openvino" in message
    assert "pip install --force-reinstall --no-deps 'onnxruntime-openvino'" in message


def test_no_runtime_wheel_is_an_error_that_names_the_extra() -> None:
    with pytest.raises(BundleError, match=r"infovae-med3d\[worker\]"):
        require_one_runtime(())


@pytest.mark.parametrize(("available", "expected"), [((OPENVINO, CPU), OPENVINO), ((CUDA, CPU), CUDA), ((CPU,), CPU)])
def test_auto_takes_the_fastest_provider_of_the_wheel(available: tuple[str, ...], expected: str) -> None:
    assert resolve_provider("auto", available) == expected


def test_a_provider_that_the_wheel_lacks_is_refused() -> None:
    with pytest.raises(BundleError, match="no CUDAExecutionProvider"):
        resolve_provider("cuda", (OPENVINO, CPU))


def test_a_session_that_fell_back_to_another_provider_is_refused() -> None:
    with pytest.raises(BundleError, match="CUDAExecutionProvider was asked for"):
        require_provider(CUDA, (CPU,))
    require_provider(OPENVINO, (OPENVINO, CPU))


def test_a_session_names_its_outputs_and_its_providers() -> None:
    session = OnnxSession(FakeRuntimeSession(lambda image: image + 1, providers=[OPENVINO, CPU]))
    assert session.providers == (OPENVINO, CPU)
    assert session.run({"image": np.zeros(2, np.float32)})["brain"].tolist() == [1, 1]


def test_a_runtime_that_fails_is_an_inference_error() -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    with pytest.raises(InferenceError):
        OnnxSession(FakeRuntimeSession(fail)).run({"image": np.zeros(1, np.float32)})
