"""POST /studies of 20 MB from 20 parallel clients, beside 20 threads of plain Python that write and fsync the same bytes.

    PYTHONPATH=tests python -m bench.bench_uploads [--rounds 5] [--clients 20] [--megabytes 20]

Both in turn, in each round, on the same file system. The clients are a process of their own on the same machine, which sends
prepared bodies over plain sockets. The service digests, encrypts and syncs each study and commits its rows before it
answers; the API's memory is sampled while they come.
"""

import argparse
import multiprocessing
import os
import random
import socket
import statistics
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil

from bench.measuring import DURABILITY, offer_to_write, publish, spread, table
from rig.dicom.uploads import CONTENT_TYPE, dicom_files, files_form
from rig.processes.service import Processes
from rig.service.parts import worker

MEMORY_AIM_MB, TIMES_AIM = 300, 3.0
PIECE_BYTES = 1 << 20
FILES = 40


def body_of(megabytes):
    """A study of some large DICOM files, not packed; none is like another."""
    (small,) = dicom_files(1, series=uuid.uuid4().hex)
    fill_bytes = megabytes * 1_000_000 // FILES - len(small)
    noise = random.randbytes(1_000_000)
    files = {f"{number}.dcm": _grown(small, number, fill_bytes, noise) for number in range(FILES)}
    return files_form(*files.items())


def _grown(small, number, fill_bytes, noise):
    """Append a private element of so many bytes: (0099,0010) OB, explicit little endian."""
    start = (number * 7919) % (len(noise) - 1)
    filling = (noise[start:] + noise * (fill_bytes // len(noise) + 1))[: fill_bytes & ~1]
    filling = number.to_bytes(8, "big") + filling[8:]
    return small + b"\x99\x7f\x10\x00OB\0\0" + len(filling).to_bytes(4, "little") + filling


def post(port, key, body):
    """Send one body; the status of the answer."""
    head = (
        f"POST /studies HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=300) as line:
        line.sendall(head.encode())
        line.sendall(body)
        return int(line.recv(64).split()[1])


def side_by_side(work, items):
    """Seconds until a thread for each item has done its work; what they gave."""
    given, ready = [], threading.Barrier(len(items) + 1)

    def one(item):
        ready.wait()
        given.append(work(item))

    threads = [threading.Thread(target=one, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, given


def clients(pipe, port, key, number, megabytes):
    """The process of the clients: on each word it sends new studies, and says the seconds and the statuses."""
    while pipe.recv():
        bodies = [body_of(megabytes) for _ in range(number)]
        pipe.send("ready")
        pipe.recv()
        pipe.send(side_by_side(lambda body: post(port, key, body), bodies))


def write_and_sync(folder, number, megabytes):
    """The floor: seconds of as many threads, each with a file of its own, synced, and its folder too."""
    bodies = [body_of(megabytes) for _ in range(number)]

    def write(body):
        path = folder / uuid.uuid4().hex
        with path.open("wb") as file:
            for start in range(0, len(body), PIECE_BYTES):
                file.write(body[start : start + PIECE_BYTES])
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return side_by_side(write, bodies)[0]


class Memory:
    """Highest resident memory of a process while sampled, bytes."""

    def __init__(self, pid):
        self.highest, self._process, self._stop = 0, psutil.Process(pid), threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self):
        while not self._stop.wait(0.02):
            self.highest = max(self.highest, self._process.memory_info().rss)

    def stop(self):
        self._stop.set()


def rounds(service, pipe, folder, given):
    """Seconds of both, round by round; the highest memory of the API, and its seconds of processor a round."""
    ours, floor, memory, busy_s = [], [], Memory(service.running["api"].pid), -processor_s(service)
    for _ in range(given.rounds):
        floor.append(write_and_sync(folder, given.clients, given.megabytes))
        pipe.send("make")
        pipe.recv()
        pipe.send("go")
        seconds, statuses = pipe.recv()
        assert statuses == [202] * given.clients, statuses
        ours.append(seconds)
    memory.stop()
    return ours, floor, memory.highest, (busy_s + processor_s(service)) / given.rounds


def processor_s(service):
    """Seconds of processor that the API has used."""
    times = psutil.Process(service.running["api"].pid).cpu_times()
    return times.user + times.system


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=20)
    offer_to_write(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="med3d-bench-") as folder:
        plain = Path(folder) / "plain"
        plain.mkdir()
        service = Processes(Path(folder) / "data")
        near, far = multiprocessing.get_context("spawn").Pipe()
        sending = multiprocessing.get_context("spawn").Process(
            target=clients, args=(far, service.port, service.key, given.clients, given.megabytes)
        )
        try:
            service.start("broker", "api")
            service.hello(worker())
            sending.start()
            ours, floor, memory, busy_s = rounds(service, near, plain, given)
        finally:
            near.send(None)
            sending.join(30)
            service.close()
    times = statistics.median(mine / theirs for mine, theirs in zip(ours, floor, strict=True))
    megabytes = given.clients * given.megabytes
    rows = [
        ["write and fsync, plain Python", spread(floor), f"{megabytes / statistics.median(floor):.0f}", "", ""],
        [
            "`POST /studies`",
            spread(ours),
            f"{megabytes / statistics.median(ours):.0f}",
            f"{busy_s:.1f}",
            f"{memory / 1e6:.0f}",
        ],
    ]
    text = table(["", "s", "MB/s", "processor of the API, s", "memory of the API, MB"], rows)
    said = f"{given.clients} at once, {given.megabytes} MB each; median (range) of {given.rounds} rounds"
    aims = f"{times:.1f} times the floor (aim {TIMES_AIM:.0f}); memory aim {MEMORY_AIM_MB} MB"
    publish("uploads", f"{text}\n\n{said}. {aims}.", DURABILITY, write=given.write)


if __name__ == "__main__":
    main()
