"""Which ONNX Runtime computes, and what is said when it is not the one that was asked for."""

import numpy as np
import pytest

from factories.brain_networks import FakeRuntimeSession
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import BundleError, DeviceMemoryError, InferenceError
from med3d_pipeline.runtime.onnx_sessions import (
    OnnxSession,
    SessionOptions,
    first_that_computes,
    installed_runtime_wheels,
    open_session,
    provider_settings,
    require_one_runtime,
    require_provider,
    resolve_providers,
)

TENSORRT = "TensorrtExecutionProvider"
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
    assert resolve_providers("auto", available) == (expected,)


def test_a_provider_that_the_wheel_lacks_is_refused() -> None:
    with pytest.raises(BundleError, match="no CUDAExecutionProvider"):
        resolve_providers("cuda", (OPENVINO, CPU))


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


def test_several_providers_are_tried_in_the_order_of_the_setting() -> None:
    assert resolve_providers("tensorrt, cuda,openvino,cpu", (CPU, CUDA, TENSORRT)) == (TENSORRT, CUDA, CPU)


def test_a_provider_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BundleError, match=r"no provider 'rocm'.*tensorrt, cuda, openvino, cpu"):
        resolve_providers("cuda,rocm", (CUDA, CPU))


class Loads:
    """Stands in for a host: which providers really compute there, and which cannot even load."""

    def __init__(self, computing: tuple[str, ...], broken: tuple[str, ...] = ()) -> None:
        self.computing, self.broken, self.tried = computing, broken, []

    def __call__(self, name: str) -> FakeRuntimeSession:
        self.tried.append(name)
        if name in self.broken:
            raise RuntimeError("libnvinfer.so.10: cannot open shared object file")
        providers = [name, CPU] if name in self.computing else [CPU]
        return FakeRuntimeSession(lambda image: image, providers=providers)


def test_on_a_host_without_a_gpu_the_next_of_the_setting_computes() -> None:
    host = Loads(computing=(OPENVINO,), broken=(TENSORRT,))
    assert first_that_computes((TENSORRT, CUDA, OPENVINO), host).get_providers()[0] == OPENVINO
    assert host.tried == [TENSORRT, CUDA, OPENVINO]


def test_where_none_computes_each_is_told_with_its_reason() -> None:
    with pytest.raises(BundleError, match=r"cannot load the network with Tensorrt.*CUDA.* was asked for, but"):
        first_that_computes((TENSORRT, CUDA), Loads(computing=(), broken=(TENSORRT,)))


@pytest.mark.parametrize(
    "message",
    [
        "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 805306368",
        "CUDA failure 2: out of memory ; GPU=0",
    ],
)
def test_a_device_without_memory_is_told_apart_from_other_faults(message: str) -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError(message)

    with pytest.raises(DeviceMemoryError):
        OnnxSession(FakeRuntimeSession(fail)).run({"image": np.zeros(1, np.float32)})


def test_cuda_is_told_its_device_its_limit_and_not_to_double_its_arena() -> None:
    told = provider_settings(CUDA, SessionOptions(device=3, gpu_mem_limit_bytes=2**31))
    assert (told["device_id"], told["gpu_mem_limit"]) == ("3", "2147483648")
    assert (told["arena_extend_strategy"], told["use_tf32"]) == ("kSameAsRequested", "0")
    assert "gpu_mem_limit" not in provider_settings(CUDA, SessionOptions())


def test_buffers_that_are_bound_give_what_plain_runs_give() -> None:
    """On the host's memory, with the real runtime: the same calls as on a GPU."""
    import onnxruntime

    model = Bundle.default_path() / "encoder.onnx"
    shape = Bundle.open(Bundle.default_path(), "cpu", verify=False).spec.shape
    plain = open_session(model, SessionOptions(provider="cpu"))
    raw = onnxruntime.InferenceSession(str(model), providers=[CPU])
    bound = OnnxSession(raw, device=("cpu", 0))
    for seed in (1, 2):  # the second batch goes into the buffer of the first
        tensors = np.random.default_rng(seed).random((2, 1, *shape), dtype=np.float32)
        one, other = (session.run({"tensor": tensors})["latent"] for session in (plain, bound))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_session_of_known_sizes_gives_what_one_of_any_size_gives_and_takes_no_other() -> None:
    model = Bundle.default_path() / "brain_box.onnx"
    fixed, dynamic = open_session(model, sizes={"x": 32, "y": 64, "z": 32}), open_session(model)
    image = np.random.default_rng(5).random((1, 1, 32, 64, 32), dtype=np.float32)
    one, other = (session.run({"image": image})["brain"] for session in (fixed, dynamic))
    np.testing.assert_allclose(one, other, atol=1e-4)
    with pytest.raises(InferenceError):
        fixed.run({"image": image.transpose(0, 1, 3, 2, 4)})
