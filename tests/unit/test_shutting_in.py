"""What a process that has shut itself in can still do: read what it was left, and nothing else."""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from med3d_pipeline.reading.codecs_apart import CodecError, CodecProcess, CodecsApart, CompressedInstance
from med3d_pipeline.reading.dicom_pixels import PIXEL_MODULE
from rig.dicom.series import head_like, ras_affine, save_all, slice_datasets

ATTEMPTS = """
import ctypes, fcntl, json, os, pathlib, platform, signal, socket, subprocess, sys, threading
from med3d_confined import refuse_calls, shut_in
given, kept, other, parent = sys.argv[1:]
missing = refuse_calls() + shut_in([pathlib.Path(given)], [pathlib.Path(kept)])
def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()
def called(numbers, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(numbers[platform.machine()], *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
def queue(number):
    info = (ctypes.c_int * 32)(number, 0, -1)
    called({"x86_64": 129, "aarch64": 138}, int(parent), number, info)
attempts = {
    "read what it was given": lambda: open(given).read(),
    "write its one file": lambda: open(kept, "w").write("x"),
    "start a thread": thread,
    "import a module": lambda: __import__("wave"),
    "read another file": lambda: open(other).read(),
    "write another file": lambda: open(other, "a"),
    "make a file beside": lambda: open(given + ".new", "w"),
    "remove its file": lambda: os.unlink(kept),
    "list a folder": lambda: os.listdir(os.path.dirname(given)),
    "read its parent's environment": lambda: open(f"/proc/{parent}/environ", "rb").read(),
    "read its parent's memory": lambda: open(f"/proc/{parent}/mem", "rb"),
    "open a connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    "open a socket of the machine": lambda: socket.socket(socket.AF_UNIX),
    "start a shell": lambda: subprocess.run(["/bin/sh", "-c", "true"]),
    "become another program": lambda: os.execv("/bin/true", ["true"]),
    "fork": lambda: os.fork() or os._exit(0),
    "end its parent": lambda: os.kill(int(parent), signal.SIGUSR1),
    "send its parent a signal with a value": lambda: queue(signal.SIGWINCH),
    "have the kernel send its parent signals": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, int(parent)),
    "choose which signal that is": lambda: fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGWINCH),
    "take shared memory of others": lambda: called({"x86_64": 30, "aarch64": 196}, 0, None, 0),
}
found = {}
for name, attempt in attempts.items():
    try:
        attempt()
        found[name] = "done"
    except OSError as error:
        found[name] = os.strerror(error.errno)
print(json.dumps({"missing": missing, "found": found}))
"""
MAY = {"read what it was given", "write its one file", "start a thread", "import a module"}


@pytest.fixture(scope="module")
def attempted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    paths = [folder / name for name in ("given", "kept", "other")]
    for path in paths:
        path.write_text("secret")
    said = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, *map(str, paths), str(os.getpid())],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    told = json.loads(said.stdout)
    if told["missing"]:
        pytest.skip(f"this kernel has no {' and no '.join(told['missing'])}")
    return told["found"]


def test_a_process_that_shut_itself_in_does_its_work_and_reaches_nothing_else(attempted):
    assert {name for name, outcome in attempted.items() if outcome == "done"} == MAY
    refusals = {outcome for name, outcome in attempted.items() if name not in MAY}
    assert refusals <= {"Operation not permitted", "Permission denied"}


# --- the codecs' process ------------------------------------------------------------------------------------------------


def compressed(folder):
    """Slices as RLE, read from where they lie, and what is asked of the codecs for the first."""
    datasets = slice_datasets(head_like((16, 12, 3)), ras_affine((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    expected = datasets[0].pixel_array
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path, *_ = save_all(folder, datasets)
    asked = CompressedInstance(path.read_bytes(), str(RLELossless), PIXEL_MODULE, (0,), expected.size)
    return asked, expected


def test_codecs_run_in_a_process_without_files_network_or_keys(tmp_path):
    asked, expected = compressed(tmp_path)
    os.environ["MED3D_WORKER_KEY"] = "SECRET"
    codecs = CodecProcess(tmp_path)
    try:
        np.testing.assert_array_equal(codecs.decode(asked)[0], expected)
        about = {name: Path(f"/proc/{codecs.pid}/{name}").read_bytes() for name in ("environ", "status", "limits")}
        assert b"SECRET" not in about["environ"]
        assert b"Max address space         %d " % asked.memory_bytes() in about["limits"]
        assert codecs.unconfined or b"Seccomp:\t2" in about["status"]
    finally:
        codecs.close()
        del os.environ["MED3D_WORKER_KEY"]


def test_one_process_serves_a_folder_and_another_folder_gets_another(tmp_path):
    asked, expected = compressed(tmp_path)
    with closing(CodecsApart()) as codecs:
        for _ in range(2):
            np.testing.assert_array_equal(codecs.decode(tmp_path, asked)[0], expected)
        first = codecs._kept
        codecs.decode(tmp_path / "other", asked)
        assert codecs._kept.pid != first.pid
        assert first._process.returncode is not None


def test_codecs_whose_process_was_ended_by_others_are_asked_once_more(tmp_path):
    asked, expected = compressed(tmp_path)
    with closing(CodecsApart()) as codecs:
        codecs.decode(tmp_path, asked)
        os.kill(codecs._kept.pid, signal.SIGKILL)
        np.testing.assert_array_equal(codecs.decode(tmp_path, asked)[0], expected)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b"{}\n",
        b'{"shape": [3], "dtype": "O"}\n',
        b'{"shape": [192], "dtype": "<f8"}\n',
        b'{"shape": [100000, 100000], "dtype": "<u2"}\n',
        b'{"shape": [12, 16], "dtype": "<u2"}\nshort',
    ],
)
def test_what_a_taken_over_codec_says_is_believed_within_the_frame_s_size_alone(tmp_path, said):
    asked, _ = compressed(tmp_path)
    made = CodecsApart(lambda folder: CodecProcess(folder, ("-c", SAYS.format(said=said))))
    with closing(made) as codecs, pytest.raises(CodecError):
        codecs.decode(tmp_path, asked)


def test_codecs_that_do_not_start_are_our_fault_and_not_the_image_s(tmp_path):
    asked, _ = compressed(tmp_path)
    made = CodecsApart(lambda folder: CodecProcess(folder, ("-c", "raise SystemExit(1)")))
    with closing(made) as codecs, pytest.raises(ChildProcessError):
        codecs.decode(tmp_path, asked)


SAYS = "import sys; sys.stdout.buffer.write(b'{{}}\\n' + {said!r}); sys.stdout.flush()"


def test_a_kernel_that_cannot_shut_codecs_in_is_told_of_once(tmp_path, caplog):
    says = 'import sys; print(\'{"ready": ["landlock"]}\', flush=True); sys.stdin.read()'
    codecs = CodecsApart(lambda folder: CodecProcess(folder, ("-c", says)))
    with closing(codecs), caplog.at_level(logging.WARNING):
        for folder in ("a", "b"):
            codecs._process_of(tmp_path / folder)
    assert [record.getMessage() for record in caplog.records] == [
        "pixel codecs run without landlock: the kernel has none"
    ]


ABORTS = """
import os, resource
from med3d_confined import leave_no_core
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
leave_no_core()
os.abort()
"""


def test_a_process_that_breaks_leaves_no_memory_of_its_own(tmp_path):
    command = ["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), sys.executable, "-c", ABORTS]
    _, ended = os.waitpid(os.posix_spawnp("sh", command, os.environ), 0)
    assert os.WTERMSIG(ended) == signal.SIGABRT
    assert not os.WCOREDUMP(ended)
    assert list(tmp_path.iterdir()) == []
