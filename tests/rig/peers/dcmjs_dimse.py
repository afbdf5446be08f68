"""dcmjs-dimse (npm) as a sender and as a receiver, where node and the package are: `make peers` fetches it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_suffix(".js")
MODULES = Path(os.environ.get("MED3D_NODE_PEERS", Path(__file__).parents[3] / "build" / "peers")) / "node_modules"


def _begin(*words: str) -> subprocess.Popen[str]:
    if shutil.which("node") is None or not (MODULES / "dcmjs-dimse").is_dir():
        pytest.skip("dcmjs-dimse is not there: make peers")
    environment = os.environ | {"NODE_PATH": str(MODULES)}
    return subprocess.Popen(["node", SCRIPT, *words], stdout=subprocess.PIPE, text=True, env=environment)


def _told(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it tells, between the lines of its log."""
    assert process.stdout is not None
    yield from (json.loads(line) for line in process.stdout if line.startswith("{"))


def send(port: int, called: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """C-ECHO, and C-STORE of all files on one association; the statuses."""
    with _begin("send", str(port), called, *map(str, files)) as process:
        return list(_told(process))


@contextmanager
def receiving() -> Iterator[tuple[int, Iterator[dict[str, Any]]]]:
    """A receiver; its port, and what it is sent."""
    with _begin("receive") as process:
        try:
            told = _told(process)
            yield next(told)["port"], told
        finally:
            process.kill()
