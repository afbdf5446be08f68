"""``python -m fuzz.associations --inputs 5000``: spoilt associations against the listener's own process; what was found.

A finding is a listener that ends, a connection that it does not close within its time, a thread, socket or file that is
left, memory that grows, an instance that is half stored, or an error in its log that is not classified.
"""

import argparse
import collections
import json
import os
import socket
import struct
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydicom import config as pydicom_config

from fuzz.streams import CALLING, PIECE_BYTES, Pdus, Spoilt, record, spoil
from rig.processes.listening import Listening
from rig.processes.service import whole_lines

IDLE_S = 1.0
HANG_S = 20.0
AT_ONCE = 8
BATCH = 500
GROWTH_BYTES = 100 * 1024**2
SEEDS = Path(__file__).parent / "association_seeds.txt"
"""Numbers that found something once; they are tried first, each time."""
ENDS = {2: "accepted", 3: "rejected", 6: "released", 7: "aborted"}


@dataclass
class Report:
    """What came of it."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[str] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)


class Target:
    """A listener in a process of its own, and what it had when nobody spoke to it."""

    def __init__(self, folder: Path) -> None:
        settings = {"MED3D_DICOM_ALLOWED": f"{CALLING}@127.0.0.1", "MED3D_DICOM_IDLE_S": str(IDLE_S)}
        self.listening = Listening(folder / "data", **settings).begin()
        self.port = self.listening.dicom_port
        self.process = psutil.Process(self.listening.running["listener"].pid)

    def recorded(self, folder: Path, data: Path | None) -> dict[str, Pdus]:
        """Streams of real senders; afterwards the listener has threads and descriptors as it always has."""
        streams = record(self.port, folder, data)
        self._wait(lambda: self._connections() == 0)
        self.threads, self.descriptors = self.process.num_threads(), self.process.num_fds()
        return streams

    def _connections(self) -> int:
        return sum(1 for one in self.process.net_connections("tcp") if one.status != psutil.CONN_LISTEN)

    def _wait(self, is_so: object) -> bool:
        until = time.monotonic() + HANG_S
        while not is_so():  # type: ignore[operator]
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def left_behind(self) -> list[str]:
        """What is still there though every sender has gone; and whatever is half stored."""
        found = []
        if not self.process.is_running() or self.listening.running["listener"].poll() is not None:
            return ["the listener has ended"]
        # Pools of the database and of files keep a few of each for the next; a leak of one per association is more.
        if not self._wait(lambda: self.process.num_threads() <= self.threads + AT_ONCE):
            found.append(f"{self.process.num_threads()} threads, {self.threads} before")
        if not self._wait(lambda: self.process.num_fds() <= self.descriptors + 4 * AT_ONCE):
            found.append(f"{self.process.num_fds()} descriptors, {self.descriptors} before")
        if not self._wait(lambda: self._connections() == 0):
            found.append(f"{self._connections()} connections")
        if half := self.listening.half_stored():
            found.append(f"{len(half)} files that are half stored")
        return found

    def unclassified(self) -> list[str]:
        """Errors in the log: the listener has a word for whatever a peer may do."""
        lines = whole_lines(self.listening.data_dir / "listener.log")
        said = [json.loads(line) for line in lines if line.startswith("{")]
        loud = [f"{one['event']}: {_last_line(one)}" for one in said if one["level"] in {"error", "critical"}]
        return loud + [f"not a line of the log: {line[:120]}" for line in lines if not line.startswith("{")]

    def close(self) -> None:
        """End it."""
        self.listening.close()


def _last_line(said: dict[str, str]) -> str:
    return said.get("exception", "").strip().splitlines()[-1:][0] if said.get("exception") else ""


def speak(port: int, spoilt: Spoilt) -> str:
    """Send one input, and what it got. Raises TimeoutError where the listener neither answers nor closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = bytearray()
        with suppress(BrokenPipeError, ConnectionResetError):  # it had heard enough
            pieces = range(0, len(spoilt.data), max(spoilt.piece_bytes, len(spoilt.data) // 200))
            for start in pieces:
                connection.sendall(spoilt.data[start : start + pieces.step])
            if spoilt.ending == "resets":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "reset by the sender"
            if spoilt.ending == "closes":
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(PIECE_BYTES):
                received += piece
    return _named(bytes(received))


def _named(received: bytes) -> str:
    """The kinds of the PDUs that came back, and the statuses of the responses."""
    words, at = [], 0
    while at + 6 <= len(received):
        kind, length = received[at], int.from_bytes(received[at + 2 : at + 6])
        if kind == 4:
            status = received.find(b"\0\0\0\x09\2\0\0\0", at, at + 6 + length)
            words.append(f"0x{int.from_bytes(received[status + 8 : status + 10], 'little'):04x}")
        else:
            words.append(ENDS[kind])
        at += 6 + length
    return ", ".join(dict.fromkeys(words)) or "closed"


def run(target: Target, streams: dict[str, Pdus], numbers: list[int]) -> Report:
    """All inputs, a few at once."""
    report = Report()

    def one(number: int) -> str | None:
        try:
            return speak(target.port, spoil(streams, number))
        except TimeoutError:
            report.findings.append(f"input {number}: neither an answer nor the end within {HANG_S:g} s")
        except OSError as error:
            report.findings.append(f"input {number}: {type(error).__name__}")
        return None

    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        with ThreadPoolExecutor(AT_ONCE) as senders:
            told = list(senders.map(one, batch))  # counted here: of two threads that count, one may be lost
        report.answers.update(answer for answer in told if answer is not None)
        report.findings += [f"inputs {batch[0]} to {batch[-1]}: {left}" for left in target.left_behind()]
        if not target.process.is_running():
            break
        report.memory_bytes.append(target.process.memory_info().rss)
    report.findings += target.unclassified()
    grown = max(report.memory_bytes, default=0) - min(report.memory_bytes, default=0)
    if grown > GROWTH_BYTES:
        report.findings.append(f"memory grew by {grown / 1e6:.0f} MB")
    target.listening.read_all()  # every instance that is recorded is whole
    return report


def kept_seeds() -> list[int]:
    """Numbers that found something once."""
    return [int(line.split()[0]) for line in SEEDS.read_text().splitlines() if line[:1].isdigit()]


def main() -> int:
    """Run, print the report as Markdown, and leave with 1 where anything was found."""
    options = argparse.ArgumentParser()
    options.add_argument("--inputs", type=int, default=5_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", type=int, action="append")
    options.add_argument("--data", type=Path, default=Path(os.environ.get("MED3D_TEST_DATA") or "../shared/data"))
    given = options.parse_args()
    first = given.seed * 1_000_000
    numbers = given.only or kept_seeds() + list(range(first, first + given.inputs))
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        target = Target(Path(folder))
        try:
            streams = target.recorded(Path(folder), given.data if given.data.is_dir() else None)
            report = run(target, streams, numbers)
            instances = len(target.listening.rows())
        finally:
            target.close()
    print(f"{len(numbers)} spoilt associations from {len(streams)} recordings (seed {given.seed}), {AT_ONCE} at once, ")
    print(
        f"in {time.monotonic() - began:.0f} s: {len(report.findings)} findings; {instances} instances stored, all whole."
    )
    print(f"Memory of the listener: {max(report.memory_bytes, default=0) / 1e6:.0f} MB at most.")
    for what, count in sorted(collections.Counter(report.findings).items()):
        print(f"- **{what}**: {count} times")
    print("\n| answer | times |\n|---|---|")
    for answer, count in sorted(report.answers.items(), key=lambda item: -item[1])[:25]:
        print(f"| {answer} | {count} |")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
