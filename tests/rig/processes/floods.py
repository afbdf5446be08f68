"""Clients without a key, in a process of their own: many that connect and say nothing, and some that never stop asking.

    python -m rig.processes.floods PORT IDLE FLOODING

says "up" once all are there, and ends with its stdin; then how many answers it got by status.
"""

import asyncio
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ASKED = b"GET /runs HTTP/1.1\r\nHost: flood\r\n\r\n"


async def _idle(port: int, keep: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    with suppress(OSError):
        keep.append(await asyncio.open_connection("127.0.0.1", port))


async def _ask_for_ever(port: int, answers: Counter[str]) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while True:
                writer.write(ASKED)
                head = await reader.readuntil(b"\r\n\r\n")
                answers[head[9:12].decode()] += 1
                size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-len"))
                await reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError, StopIteration):
            await asyncio.sleep(0.05)


async def _flood(port: int, idle: int, flooding: int) -> None:
    kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    answers: Counter[str] = Counter()
    for begin in range(0, idle, 100):
        await asyncio.gather(*(_idle(port, kept) for _ in range(begin, min(idle, begin + 100))))
    asking = [asyncio.create_task(_ask_for_ever(port, answers)) for _ in range(flooding)]
    print("up", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in asking:
        task.cancel()
    print(dict(answers), flush=True)


@contextmanager
def flood(port: int, idle: int, flooding: int) -> Iterator[subprocess.Popen[str]]:
    """Flood the API on ``port`` while the block runs."""
    command = [sys.executable, "-m", "rig.processes.floods", str(port), str(idle), str(flooding)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="tests")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_flood(*map(int, sys.argv[1:])))
