"""dcmjs-dimse (npm) as a sender and as a receiver, where node and the package are: `make peers` fetches it."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rig.peers.node import start

PACKAGE, SCRIPT = "dcmjs-dimse", "dcmjs_dimse.js"


def _told(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it tells, between the lines of its log."""
    assert process.stdout is not None
    yield from (json.loads(line) for line in process.stdout if line.startswith("{"))


def send(port: int, called: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """C-ECHO, and C-STORE of all files on one association; the statuses."""
    with start(PACKAGE, SCRIPT, "send", str(port), called, *map(str, files)) as process:
        return list(_told(process))


@contextmanager
def receiving() -> Iterator[tuple[int, Iterator[dict[str, Any]]]]:
    """A receiver; its port, and what it is sent."""
    with start(PACKAGE, SCRIPT, "receive") as process:
        try:
            told = _told(process)
            yield next(told)["port"], told
        finally:
            process.kill()
