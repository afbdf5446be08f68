"""The process that runs pixel codecs, which are C code: it has no files, no network, no keys and bounded memory.

It reads requests from stdin, a line of JSON and the bytes of an instance each, and answers with a line and the pixels
of each frame. It ends when its stdin does.
"""

import json
import os
import struct
import sys
import warnings
import zlib
from io import BytesIO
from typing import BinaryIO

import numpy as np
from pydicom import config, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from med3d_confined import leave_no_core, refuse_calls, shut_in

DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
CODECS = ("libjpeg", "openjpeg", "rle")
READY = "ready"


def main() -> int:
    """Shut the process in, then answer until nobody asks."""
    _load_codecs()
    missing = refuse_calls() + shut_in((), ())
    _say(sys.stdout.buffer, {READY: missing})
    while line := sys.stdin.buffer.readline():
        _answer(json.loads(line), sys.stdin.buffer, sys.stdout.buffer)
    return 0


def _answer(asked: dict[str, object], source: BinaryIO, target: BinaryIO) -> None:
    """Decode ``frames`` of the instance of ``size`` bytes that follows, within ``memory_bytes``."""
    size, syntax = int(str(asked["size"])), str(asked["syntax"])
    frames, tags = asked["frames"], asked["tags"]
    assert isinstance(frames, list)
    assert isinstance(tags, list)
    _bind_memory(int(str(asked["memory_bytes"])))
    try:
        dataset = dcmread(BytesIO(source.read(size)), force=True, specific_tags=tags)
        for pixels, _ in get_decoder(UID(syntax)).iter_array(dataset, indices=frames, raw=True):
            little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
            _say(target, {"shape": little.shape, "dtype": little.dtype.str})
            target.write(little.data)
    except DAMAGED:
        _say(target, {"damaged": True})
    target.flush()


def _say(target: BinaryIO, what: dict[str, object]) -> None:
    target.write(json.dumps(what).encode() + b"\n")
    target.flush()


def _load_codecs() -> None:
    import importlib

    for name in CODECS:
        importlib.import_module(name)


def _bind_memory(most_bytes: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    os.umask(0o077)
    leave_no_core()
    config.settings.reading_validation_mode = config.IGNORE
    warnings.simplefilter("ignore")
    sys.exit(main())
