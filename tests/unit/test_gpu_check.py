"""deploy/gpu-check on devices that are played: what it says of a sound one and of each fault."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from med3d_cli.capacity.measured import read_costs, shipped_costs
from med3d_pipeline.errors import BundleError, DeviceMemoryError, InferenceError, PipelineError
from med3d_pipeline.runtime.onnx_sessions import SessionOptions
from med3d_worker.stages.preprocess_stage import unpack_flat

DEPLOY = Path(__file__).parents[2] / "deploy"


def script(name):
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up, and one script imports the other
    spec.loader.exec_module(module)
    return module


host = script("gpu_check_host")
encoding_module = script("gpu_check_encoding")
arguments_module = script("gpu_check_arguments")
worker_module = script("gpu_check_worker")
workers_module = script("gpu_check_workers")
check = script("gpu_check")

SHAPE = (4, 4, 4)
TENSOR_BYTES = 4 * 4**3


@dataclass
class Device:
    """A GPU with so much memory; others may hold ``held`` of it. off: how far its answers are from the CPU's."""

    memory: int = 2**40
    held: int = 0
    off: float = 0.0
    obeys_limits: bool = True
    error: type[InferenceError] = DeviceMemoryError
    words: str = "no memory"
    opened: list = field(default_factory=list)

    def open(self, options: SessionOptions):
        if options.provider == "tensorrt":
            raise BundleError("cannot load the network with TensorrtExecutionProvider")
        self.opened.append(options)
        return Session(self, options)

    @contextlib.contextmanager
    def full(self):
        self.held = self.memory
        yield
        self.held = 0

    def encoding(self, **more):
        options = SessionOptions(provider=more.pop("provider", "cuda"))
        return check.Encoding(self.open, options, SHAPE, self.full, **more)


@dataclass
class Session:
    device: Device
    options: SessionOptions

    @property
    def on_gpu(self):
        return self.options.provider == "cuda"

    @property
    def providers(self):
        return ("CUDAExecutionProvider",) if self.on_gpu else ("CPUExecutionProvider",)

    def run(self, inputs):
        tensor = inputs["tensor"]
        limit = self.options.gpu_mem_limit_bytes if self.device.obeys_limits else None
        free = min(self.device.memory - self.device.held, limit or 2**60)
        if self.on_gpu and tensor.nbytes > free:
            raise self.device.error(self.device.words)
        return {"latent": tensor.reshape(len(tensor), -1)[:, :3] + (self.device.off if self.on_gpu else 0)}


def test_a_sound_device_is_right_and_quick_and_says_who_computes():
    encoding = Device().encoding(batches=(1, 4))
    assert encoding.provider() == "CUDAExecutionProvider"
    assert "differ by at most 0.0e+00" in encoding.agreement()
    assert list(encoding.speed()) == [1, 4]


@pytest.mark.parametrize("off", [0.1, float("nan")])
def test_a_device_that_computes_wrongly_is_found(off):
    with pytest.raises(PipelineError, match="latents differ"):
        Device(off=off).encoding().agreement()


def test_batches_are_measured_up_to_the_first_that_does_not_fit():
    assert list(Device(memory=4 * TENSOR_BYTES).encoding(batches=(1, 2, 4, 8, 16)).speed()) == [1, 2, 4]
    with pytest.raises(PipelineError, match="single head"):
        Device(memory=0).encoding().speed()


@pytest.mark.parametrize("error", [DeviceMemoryError, InferenceError])
def test_under_a_limit_batches_are_halved_in_whatever_words(error):
    device = Device(error=error)
    limited = device.encoding()
    assert "same answers" in limited.memory_limit()
    assert device.opened[-1].gpu_mem_limit_bytes == encoding_module.TIGHT_LIMIT_BYTES


def test_a_limit_that_holds_nothing_back_is_a_fault():
    with pytest.raises(PipelineError, match="no limit holds"):
        Device(obeys_limits=False).encoding().memory_limit()


def test_a_full_device_says_so_and_answers_again_when_it_is_free():
    assert "said that memory ended; afterwards batches of 64" in Device().encoding().out_of_memory()


def test_words_of_a_full_device_that_nobody_knows_are_told():
    with pytest.raises(PipelineError, match="not understood: strange words"):
        Device(error=InferenceError, words="strange words").encoding().out_of_memory()


def test_where_no_gpu_computes_its_memory_is_left_out(capsys):
    report = check.Report()
    with report.check("memory limit") as say:
        say(Device().encoding(provider="cpu").memory_limit())
    assert capsys.readouterr().out.startswith("left out  memory limit: no GPU computes here\n")
    assert report.failed == 0


def test_a_fault_is_counted_and_the_other_checks_go_on(capsys):
    report = check.Report()
    for off in (1.0, 0.0):
        with report.check("beside the CPU") as say:
            say(Device(off=off).encoding().agreement())
    with report.check("something else"):
        raise RuntimeError("the runtime's own")
    (first, _, second, _, third, _) = capsys.readouterr().out.splitlines()
    assert first.startswith("FAILED    beside the CPU")
    assert second.startswith("ok        beside the CPU")
    assert third == "FAILED    something else: RuntimeError: the runtime's own"
    assert report.failed == 2


def test_tensorrt_is_left_out_where_it_is_not_installed(capsys):
    report = check.Report()
    check.check_further(report, Device().encoding(provider="tensorrt"), Path("nowhere"), None)
    assert capsys.readouterr().out.startswith("left out  tensorrt: cannot load the network")
    assert report.failed == 0


def test_memory_is_taken_in_ever_smaller_pieces_until_none_is_left():
    free = 3 * host.LARGEST_PIECE_BYTES + 3 * host.SMALLEST_PIECE_BYTES

    def take(size):
        nonlocal free
        if size > free:
            raise RuntimeError("Available memory of 0 is smaller than requested bytes of 1")
        free -= size
        return size

    assert sum(host.take_all(take)) == 3 * host.LARGEST_PIECE_BYTES + 3 * host.SMALLEST_PIECE_BYTES


def test_a_device_is_full_while_its_holder_lives_and_a_holder_that_took_nothing_is_a_fault():
    def holder(word):
        return (sys.executable, "-c", f"import sys; print({word!r}, flush=True); sys.stdin.read()")

    with host.FullDevice(0, holder(host.FULL)) as full:
        assert full._holder.poll() is None
    assert full._holder.poll() == 0
    with pytest.raises(PipelineError, match="nothing could be taken"), host.FullDevice(0, holder(host.EMPTY)):
        pass


def rate(workers, studies, seconds, **more):
    replies = [
        worker_module.Reply(prepared_s=1.0 + number % 2, stages_s={"reading": 0.5}, answered=1, predicting_s=0.02)
        for number in range(studies)
    ]
    return workers_module.rate_of(workers, [*replies, *more.get("others", ())], seconds, more.get("device_bytes"))


def test_the_table_is_one_that_capacity_reads(tmp_path):
    found = host.Found("cuda", {1: 0.001, 64: 0.00024}, 0.003, 0.02, (rate(16, 200, 20.0), rate(1, 6, 9.0)))
    host.write_costs(tmp_path / "gpu.json", found)
    costs = read_costs(tmp_path / "gpu.json")
    assert (costs.gpu.head_s, costs.gpu.encoding[-1].heads) == (0.003, 64)
    assert costs.gpu.study_s == pytest.approx(0.023)
    assert (costs.gpu.worker.preprocess_s, costs.gpu.worker.preprocess_sd_s) == (1.5, 0.5)
    assert [(shared.workers, shared.studies_per_s) for shared in costs.gpu.shared] == [(16, 10.0), (1, 6 / 9)]
    assert costs.model_copy(update={"gpu": shipped_costs().gpu}) == shipped_costs()
    with pytest.raises(PipelineError, match="cannot be written"):
        host.write_costs(tmp_path / "no" / "gpu.json", found)
    with pytest.raises(PipelineError, match="no head was answered"):
        host.write_costs(tmp_path / "gpu.json", host.Found("cuda"))


def test_what_was_found_is_a_page_of_tables(tmp_path):
    found = host.Found("cuda", {1: 0.001}, 0.003, 0.02, (rate(16, 200, 20.0, device_bytes=32 * 10**9),))
    host.write_report(tmp_path / "found.md", found, [("FAILED", "a check", "a | b\nc")])
    page = (tmp_path / "found.md").read_text()
    assert "| a check | FAILED | a / b c |" in page
    assert "| 1 | 1.00 |" in page
    assert "| 16 | 200 | 10.00 | 864,000 | 1.50 (0.50) | 20 | 0.00 | 32.0 |" in page
    assert "| reading | 0.500 |" in page


def test_refused_studies_are_answers_and_faults_are_told():
    found = rate(2, 4, 2.0, others=(worker_module.Reply(refused=1), worker_module.Reply(fault="no memory")))
    assert (found.studies, found.refused, found.faults) == (5, 1, ("no memory",))
    assert found.per_s == 2.5
    with pytest.raises(PipelineError, match="no study was answered: no memory"):
        workers_module.rate_of(1, [worker_module.Reply(fault="no memory")], 1.0, None)


class PlayedWorker:
    """What a worker's process holds, without a model: says what it was told, and ends when it is told to die."""

    def work(self, told):
        if told == "die":
            raise SystemExit
        return worker_module.Reply(refused=told)

    write_copy = predict = work


def no_worker():
    raise InferenceError("no CUDA")


def played(make=PlayedWorker):
    """Two workers that are played by threads."""

    class Played(workers_module.WorkersOfOneDevice):
        def start(self):
            ours, theirs = Pipe()

            def run():
                with theirs, contextlib.suppress(SystemExit):
                    worker_module.obey(theirs, make)

            thread = threading.Thread(target=run)
            thread.start()
            return ours, thread.join

    return Played(2, ())


def test_workers_are_given_the_next_as_soon_as_they_have_done_with_the_last():
    with played() as workers:
        replies = workers.hand_out("work", range(5), workers.lines)
        assert sorted(reply.refused for reply in replies) == [0, 1, 2, 3, 4]
        assert [reply.refused for reply in workers.hand_out("work", [7], workers.lines[:1])] == [7]


def test_a_worker_that_is_not_ready_or_ends_is_a_fault():
    with pytest.raises(PipelineError, match="made ready: InferenceError: no CUDA"), played(no_worker):
        pass
    with pytest.raises(PipelineError, match="ended before it had answered"), played() as workers:
        workers.hand_out("work", ["die"], workers.lines)


def test_a_worker_that_has_ended_before_it_is_told_the_next_is_a_fault():
    ours, theirs = Pipe()
    theirs.close()
    with ours, pytest.raises(PipelineError, match="ended before it was told the next"):
        workers_module.WorkersOfOneDevice(1, ()).hand_out("work", ["a copy"], [ours])


def test_a_worker_that_ends_with_something_unread_is_a_fault():
    def leave_it_unread():
        assert theirs.poll(60)
        theirs.close()

    ours, theirs = Pipe()
    thread = threading.Thread(target=leave_it_unread)
    thread.start()
    with ours, pytest.raises(PipelineError, match="ended before it had answered"):
        workers_module.WorkersOfOneDevice(1, ()).hand_out("work", ["a copy"], [ours])
    thread.join()


@pytest.mark.parametrize("said", [False, True], ids=["before it said a word", "with its first word unread"])
def test_a_worker_ends_quietly_where_who_tells_it_has_ended(said):
    ours, theirs = Pipe()

    def close_first():
        ours.close()
        return PlayedWorker()

    worker = threading.Thread(target=worker_module.obey, args=(theirs, PlayedWorker if said else close_first))
    worker.start()
    if said:
        assert ours.poll(60)
        ours.close()
    worker.join(60)
    theirs.close()
    assert not worker.is_alive()


def test_a_working_copy_is_a_head_that_no_other_is(tmp_path):
    voxels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) * 4
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "head.nii")
    first, again, second = (worker_module.packed_head(tmp_path / "head.nii", number) for number in (0, 0, 1))
    assert first == again != second
    (tmp_path / "packed.tar").write_bytes(first)
    unpack_flat(tmp_path / "packed.tar", tmp_path)
    found = nib.load(tmp_path / "volume.nii.gz")
    assert found.get_data_dtype() == np.uint8
    assert np.abs(found.get_fdata() - voxels).max() < 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--parts", "devcie"), "'devcie' is none of device, workers, memory"),
        (("--parts", ""), "'' is none of"),
        (("--provider", "cuda,gpu"), "'gpu' is none of auto, tensorrt, cuda, openvino, cpu"),
        (("--provider", ""), "'' is none of"),
        (("--workers", "8,x"), "'x' is no number from 1"),
        (("--workers", "0"), "'0' is no number from 1"),
        (("--batches", ""), "'' is no number from 1"),
        (("--batches", "1,0"), "'0' is no number from 1"),
        (("--heads", "-1"), "'-1' is no number from 0"),
        (("--threads", "0"), "'0' is no number from 1"),
        (("--device", "-1"), "'-1' is no number from 0"),
        (("--mem-limit", "1024"), "'1024' is no number from 268435456"),
        (("--studies", "/nowhere"), "/nowhere holds no NIfTI"),
    ],
)
def test_what_it_cannot_be_asked_is_refused_before_a_minute_is_spent(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        check.main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_heads_is_none_and_one_with_heads_is_those(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SystemExit):
        arguments_module.read_arguments(["--studies", str(tmp_path)], None)
    for name in ("b.nii.gz", "a.nii"):
        (tmp_path / name).touch()
    found = arguments_module.read_arguments(["--studies", str(tmp_path)], None).studies
    assert [path.name for path in found] == ["a.nii", "b.nii.gz"]


def test_a_bundle_that_is_none_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MED3D_BUNDLE", str(tmp_path))
    assert check.main(["--parts", "memory"]) == 1
    assert capsys.readouterr().out.startswith(f"FAILED    {tmp_path} is no bundle")


def test_a_gpu_that_is_not_there_is_the_reason_and_not_its_memory(capsys):
    report = check.Report()

    def refuse(_options):
        raise BundleError("The installed ONNX Runtime has no CUDAExecutionProvider")

    encoding = check.Encoding(refuse, SessionOptions(provider="cuda"), SHAPE, Device().full)
    check.check_memory(report, encoding, Path("nowhere"), None)
    said = capsys.readouterr().out
    assert said.count("has no CUDAExecutionProvider") == 3
    assert "suffice" not in said


@pytest.mark.long
def test_the_command_itself_passes_where_there_is_no_gpu(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(DEPLOY)  # where the workers' processes find the script
    table, page = tmp_path / "costs.json", tmp_path / "found.md"
    arguments = ["--provider", "auto", "--heads", "1", "--workers", "1", "--batches", "1", "--threads", "2"]
    assert check.main([*arguments, "--table", str(table), "--report", str(page)]) == 0
    said = capsys.readouterr().out
    assert "ok        auto, reference case" in said
    assert "ok        1 workers: " in said
    assert "FAILED" not in said
    assert json.loads(table.read_text())["gpu"]["provider"] == "auto"
    assert read_costs(table).gpu.worker.preprocess_s > read_costs(table).gpu.networks_s
    assert "| both brain networks (part of brain extraction) |" in page.read_text()


def test_a_folder_of_unpacked_packages_is_enough_from_wherever_it_is_called(tmp_path):
    import onnxruntime

    (tmp_path / "packages").symlink_to(Path(onnxruntime.__file__).parents[1])
    environment = os.environ | {"MED3D_WHEELS": "packages", "MED3D_PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    called = [str(DEPLOY / "gpu-check"), "--help"]
    done = subprocess.run(
        called, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--provider" in done.stdout
