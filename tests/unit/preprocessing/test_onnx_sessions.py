"""Which ONNX Runtime computes, and what is said when it is not the one that was asked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import BundleError, DeviceMemoryError, InferenceError
from med3d_pipeline.runtime.gpu_libraries import (
    load_gpu_libraries,
    load_tensorrt_libraries,
    missing_libraries_hint,
)
from med3d_pipeline.runtime.memory_faults import says_memory_ended
from med3d_pipeline.runtime.onnx_sessions import (
    BoundBuffers,
    OnnxSession,
    Precision,
    SessionOptions,
    first_that_computes,
    installed_runtime_wheels,
    open_session,
    processor_flags,
    provider_settings,
    require_bfloat16,
    require_one_runtime,
    require_provider,
    resolve_providers,
)
from rig.science.brain_networks import FakeRuntimeSession

TENSORRT = "TensorrtExecutionProvider"
OPENVINO, CUDA, CPU = "OpenVINOExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


def test_exactly_one_runtime_wheel_is_installed_here() -> None:
    assert len(installed_runtime_wheels()) == 1


def test_runtime_wheels_are_found_whatever_their_name_s_spelling_and_without_a_look_into_them(tmp_path: Path) -> None:
    for folder in (
        "ONNXRuntime_GPU-1.31.1.dist-info",
        "numpy-2.4.6.dist-info",
        "onnxruntime_openvino-1.24.1.dist-info",
    ):
        (tmp_path / folder).mkdir()
    assert installed_runtime_wheels([str(tmp_path)]) == ("onnxruntime-gpu", "onnxruntime-openvino")


def test_two_runtime_wheels_are_an_error_that_says_how_to_mend_it() -> None:
    with pytest.raises(BundleError) as caught:
        require_one_runtime(("onnxruntime", "onnxruntime-openvino"))
    message = str(caught.value)
    assert "pip uninstall -y onnxruntime onnxruntime-openvino" in message
    assert "pip install --force-reinstall --no-deps 'onnxruntime-openvino'" in message


def test_no_runtime_wheel_is_an_error_that_names_the_extra() -> None:
    with pytest.raises(BundleError, match=r"pip install '\.\[worker\]'"):
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


def test_a_network_that_a_full_device_cannot_hold_is_told_so() -> None:
    """The bundle is as it should be, and so is the driver."""

    def full(_: str) -> None:
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")

    with pytest.raises(BundleError, match=r"with CUDAExecutionProvider: the device has no memory left for it"):
        first_that_computes((CUDA,), full)


ARENA = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "


@pytest.mark.parametrize(
    "message",
    [
        ARENA + "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 805306368",
        ARENA + "bfc_arena.cc:360 Available memory of 10926848 is smaller than requested bytes of 67108864",
        "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size)",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
        "CudaMempoolArena::Alloc: cudaMallocFromPoolAsync failed: cudaErrorMemoryAllocation",
        "Memory allocation failed. Size=805306368",
        "TensorRT EP execution context enqueue failed: [resizingAllocator.cpp] Error Code 1: OutOfMemory",
        "std::bad_alloc",
    ],
)
def test_memory_that_ended_is_told_apart_in_the_words_of_each_library(message: str) -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError(message)

    with pytest.raises(DeviceMemoryError):
        OnnxSession(FakeRuntimeSession(fail)).run({"image": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failure 216: device already in use ; GPU=0",
        "CUDA failure 719: unspecified launch failure ; GPU=0",
        "Got invalid dimensions for input: image for the following indices",
    ],
)
def test_other_faults_are_not_called_memory(message: str) -> None:
    assert not says_memory_ended(message)


def run_with_arena(limit_mib: int, batch: int) -> dict[str, Any]:
    """What a process of its own answers whose runtime has so much memory and no more, by its own arena's limit."""
    done = subprocess.run(
        [sys.executable, "-c", HALVES_IN_A_LIMITED_ARENA, str(limit_mib), str(batch)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1]) | {"printed": done.stderr}


HALVES_IN_A_LIMITED_ARENA = """
import json, sys
import numpy as np, onnxruntime as ort
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import DeviceMemoryError
from med3d_pipeline.runtime.fixed_batches import FixedBatches
from med3d_pipeline.runtime.onnx_sessions import OnnxSession, runtime_settings

limit, batch = int(sys.argv[1]) * 2**20, int(sys.argv[2])
place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": 1}))
limited = runtime_settings(ort, threads=2)
limited.add_session_config_entry("session.use_env_allocators", "1")
model, cpu = str(Bundle.default_path() / "encoder.onnx"), ["CPUExecutionProvider"]
tight = OnnxSession(ort.InferenceSession(model, limited, providers=cpu))
roomy = OnnxSession(ort.InferenceSession(model, providers=cpu))
shape = Bundle.open(Bundle.default_path(), "cpu", verify=False).spec.shape
tensors = np.random.default_rng(3).random((8, 1, *shape), dtype=np.float32)
try:
    tight.run({"tensor": np.zeros((batch, 1, *shape), np.float32)})
    word = "fits"
except DeviceMemoryError:
    word = "memory"
batches = FixedBatches(tight, batch)
found, expected = (runs.run({"tensor": tensors})["latent"] for runs in (batches, roomy))
print(json.dumps({"word": word, "batch": batches.batch, "off": float(np.abs(found - expected).max())}))
"""


def test_the_real_runtime_whose_memory_ends_is_understood_and_answers_in_smaller_batches() -> None:
    """On the host's memory: the arena, its limit and its words are those of a GPU."""
    said = run_with_arena(limit_mib=60, batch=32)
    assert said["word"] == "memory"
    assert 1 <= said["batch"] < 32
    assert said["off"] < 1e-3
    assert said["printed"] == "", "what was handled is no line in a worker's log"


class PrintsWhatIsMissing:
    """Stands in for the module onnxruntime on a host without CUDA's libraries."""

    def __init__(self, *missing: str) -> None:
        self.missing, self.calls = missing, 0

    def preload_dlls(self) -> None:
        self.calls += 1
        for name in self.missing:
            print(f"Failed to load {name}: cannot open shared object file: No such file or directory")


def test_cuda_s_libraries_are_loaded_once_and_the_missing_ones_named(capsys: pytest.CaptureFixture[str]) -> None:
    runtime = PrintsWhatIsMissing("/env/nvidia/cu13/lib/libcublas.so.13", "libcublas.so.13", "libcurand.so.10")
    assert [load_gpu_libraries(runtime) for _ in range(2)] == [("libcublas.so.13", "libcurand.so.10")] * 2
    assert runtime.calls == 1
    assert capsys.readouterr().out == ""  # where commands write their JSON


def test_whoever_gets_no_gpu_is_told_which_libraries_are_missing_and_what_brings_them() -> None:
    hint = missing_libraries_hint(load_gpu_libraries(PrintsWhatIsMissing("libcublas.so.13")))
    with pytest.raises(BundleError, match=r"CUDA.* was asked for.*Not found: libcublas.so.13.*worker-gpu.*driver 580"):
        first_that_computes((CUDA,), Loads(computing=()), hint)
    assert missing_libraries_hint(load_gpu_libraries(PrintsWhatIsMissing())) == ""


def test_whoever_asked_for_tensorrt_without_its_wheel_is_told_so() -> None:
    hint = missing_libraries_hint((), tensorrt=False)
    with pytest.raises(
        BundleError, match=r"with TensorrtExecutionProvider.*TensorRT's wheel is not installed.*MED3D_PROVIDER"
    ):
        first_that_computes((TENSORRT,), Loads(computing=(), broken=(TENSORRT,)), hint)


def test_tensorrt_s_wheel_is_loaded_where_it_is_installed() -> None:
    def nowhere(name: str) -> None:
        raise ModuleNotFoundError(name)

    asked: list[str] = []
    assert load_tensorrt_libraries(asked.append)
    assert asked == ["tensorrt_libs"]
    assert not load_tensorrt_libraries(nowhere)


class FullDevice:
    """A runtime session whose device takes a batch of two and no more."""

    def get_outputs(self) -> list[Any]:
        return []

    def io_binding(self) -> "FullDevice":
        return self

    def bind_ortvalue_input(self, _name: str, value: Any) -> None:
        self.size = value.shape()[0]

    def run_with_iobinding(self, _binding: Any) -> None:
        if self.size > 2:
            raise RuntimeError("Available memory of 0 is smaller than requested bytes of 1")

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        return []


def test_a_batch_that_does_not_fit_leaves_no_buffer_behind() -> None:
    bound = BoundBuffers(FullDevice(), ("cpu", 0))
    with pytest.raises(RuntimeError):
        bound.run({"image": np.zeros((4, 2), np.float32)})
    assert not bound._inputs
    bound.run({"image": np.zeros((2, 2), np.float32)})
    assert list(bound._inputs) == [("image", (2, 2))]


def test_cuda_is_told_its_device_its_limit_and_not_to_double_its_arena() -> None:
    told = provider_settings(CUDA, SessionOptions(device=3, gpu_mem_limit_bytes=2**31))
    assert (told["device_id"], told["gpu_mem_limit"]) == ("3", "2147483648")
    assert (told["arena_extend_strategy"], told["use_tf32"]) == ("kSameAsRequested", "0")
    assert "gpu_mem_limit" not in provider_settings(CUDA, SessionOptions())


def test_openvino_is_told_the_precision_and_computes_in_float32_where_nothing_is_said() -> None:
    def told(*precision: Precision) -> str:
        hints = json.loads(provider_settings(OPENVINO, SessionOptions(), *precision)["load_config"])
        return str(hints["CPU"]["INFERENCE_PRECISION_HINT"])

    assert (told(), told("bfloat16")) == ("f32", "bf16")


def test_bfloat16_is_refused_where_it_would_be_slower_or_silently_something_else(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx512f avx512_bf16\nbugs : none\n")
    flags = processor_flags(tmp_path / "cpuinfo")
    require_bfloat16((OPENVINO,), flags)
    assert processor_flags(tmp_path / "none") == frozenset()
    with pytest.raises(BundleError, match="does not multiply bfloat16: set MED3D_MASK_PRECISION=float32"):
        require_bfloat16((OPENVINO,), flags - {"avx512_bf16"})
    for names in ((CUDA,), ("CPUExecutionProvider",), (CUDA, OPENVINO)):
        with pytest.raises(BundleError, match=r"computed by OpenVINO on a CPU.*MED3D_MASK_PRECISION=float32"):
            require_bfloat16(names, flags)


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
