"""Decodes compressed frames in a process of their own, which can reach nothing (med3d_confined.codec_child).

One process serves the files of one folder, which are one study's or one series': what a hostile frame did to it cannot
show in another patient's images.
"""

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from med3d_confined.shutting_in import ONE_THREAD

CHILD = "med3d_confined.codec_child"
TRIES = 2
"""One process alone may have been killed for what others did on the machine."""
LONGEST_S = 300.0
"""That one instance may take."""
BASE_BYTES = 1536 * 1024**2
BYTES_PER_SAMPLE = 24
"""Address space: of Python with its libraries, and of one frame for codecs and copies beside the instance itself."""
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")
_log = logging.getLogger(__name__)


class CodecError(ValueError):
    """No codec decodes this instance, or one broke or never ended."""


@dataclass(frozen=True)
class CompressedInstance:
    """The bytes of an instance, their transfer syntax, which frames are wanted, and how many samples a frame has.

    ``tags``: of the elements that decoding needs; whatever else there is stays unread.
    """

    data: bytes
    syntax: str
    tags: tuple[str, ...]
    frames: tuple[int, ...]
    samples: int

    def memory_bytes(self) -> int:
        """Tell how much address space its decoding may take."""
        return BASE_BYTES + 3 * len(self.data) + BYTES_PER_SAMPLE * self.samples


class CodecProcess:
    """One process, for one folder."""

    def __init__(self, folder: Path, program: Sequence[str] = ("-m", CHILD)) -> None:
        self.folder, self.parent = folder, os.getpid()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ONE_THREAD
            | {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # wherever this process has its modules from
        )
        try:
            self.unconfined = tuple(self._line().get("ready", ()))
        except OSError as error:
            self.close()
            raise ChildProcessError("the codecs' process does not start") from error

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def decode(self, asked: CompressedInstance) -> list[np.ndarray]:
        """Return all frames that are asked for.

        Raises CodecError for damage, BrokenPipeError where the process ended.
        """
        watch = threading.Timer(LONGEST_S, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            return list(self._frames(asked))
        finally:
            watch.cancel()

    def _frames(self, asked: CompressedInstance) -> Iterator[np.ndarray]:
        assert self._process.stdin is not None
        told = {
            "size": len(asked.data),
            "frames": list(asked.frames),
            "syntax": asked.syntax,
            "tags": list(asked.tags),
            "memory_bytes": asked.memory_bytes(),
        }
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.write(asked.data)
        self._process.stdin.flush()
        for _ in asked.frames:
            yield self._frame(asked.samples)

    def _frame(self, samples: int) -> np.ndarray:
        """Read one frame; what the process says of itself is believed within the frame's own size alone."""
        said = self._line()
        if said.get("damaged"):
            raise CodecError("not decodable")
        try:
            dtype = np.dtype(str(said["dtype"]))
            shape = tuple(int(length) for length in said["shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenPipeError("the process spoke otherwise") from error
        count = int(np.prod(shape))
        if dtype.kind not in "iu" or dtype.itemsize > 4 or min(shape, default=0) < 1 or count != samples:
            raise BrokenPipeError("the process told of another frame")
        assert self._process.stdout is not None
        pixels = self._process.stdout.read(count * dtype.itemsize)
        if len(pixels) != count * dtype.itemsize:
            raise BrokenPipeError("the process ended within a frame")
        return np.frombuffer(pixels, dtype).reshape(shape)

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            said = json.loads(self._process.stdout.readline(4096))
        except ValueError as error:
            raise BrokenPipeError("the process ended") from error
        if not isinstance(said, dict):
            raise BrokenPipeError("the process spoke otherwise")
        return said

    def close(self) -> None:
        """End it."""
        if self.parent != os.getpid():
            return  # a fork has only a copy of this
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # of what was still to be written
                pipe.close()


class CodecsApart:
    """Keeps one process while files of one folder are decoded, and ends it with this process."""

    def __init__(self, start: Callable[[Path], CodecProcess] = CodecProcess) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._kept: CodecProcess | None = None
        self._told = False

    def decode(self, folder: Path, asked: CompressedInstance) -> list[np.ndarray]:
        """Decode in the process of ``folder``. Raises CodecError, and ChildProcessError where none starts."""
        with self._lock:
            for _ in range(TRIES):
                process = self._process_of(folder)
                try:
                    return process.decode(asked)
                except OSError:  # it ended: killed, out of memory, or a codec broke
                    self._end()
            raise CodecError("the codecs' process ended twice over one instance")

    def close(self) -> None:
        """End the process that is kept."""
        with self._lock:
            self._end()

    def _process_of(self, folder: Path) -> CodecProcess:
        kept = self._kept
        if kept is None or kept.folder != folder or kept.parent != os.getpid():
            self._end()
            kept = self._kept = self._start(folder)
            if kept.unconfined and not self._told:
                self._told = True
                _log.warning("pixel codecs run without %s: the kernel has none", " and ".join(kept.unconfined))
        return kept

    def _end(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


CODECS = CodecsApart()
"""Of this process."""
atexit.register(CODECS.close)
