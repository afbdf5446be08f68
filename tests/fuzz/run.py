"""``python -m fuzz.run --inputs 20000``: spoilt real files through every inlet, in a limited child; what was found.

With ``--spoken http`` (or multipart, hl7) spoilt requests, bodies or messages instead. An input is a number: `--only 1234` repeats it. A child that dies or hangs is a finding of the input in hand, and is replaced.
"""

import argparse
import collections
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz.inlets import INLETS
from fuzz.mutations import sources, spoil
from fuzz.speaking import SPOKEN

MEMORY_BYTES = 4 * 1024**3
HANG_S = 60.0
BATCH = 500
GROWTH_BYTES = 200 * 1024**2
SEEDS = Path(__file__).parent / "seeds.txt"
"""Numbers that found something once; they are tried first, each time."""


Tries = Callable[[int], Iterator[tuple[str, Callable[[Path], str]]]]
"""Of the input of a number: the names of what it meets, and how it does."""


def tries_of_files(files: list[Path]) -> Tries:
    """Spoilt files, each through every inlet."""

    def tries(number: int) -> Iterator[tuple[str, Callable[[Path], str]]]:
        spoilt = spoil(files, number)
        for inlet in INLETS:
            yield inlet.__name__, partial(inlet, spoilt.data)

    return tries


def tries_of_spoken(name: str) -> Tries:
    """Spoilt requests, bodies or messages."""
    return lambda number: iter([(f"by_{name}", partial(SPOKEN[name], number))])


def work(numbers: list[int], folder: Path, tries: Tries, report: Connection) -> None:
    """Run inputs in this child; before each it says which, so that its death has a cause."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for number in numbers:
            for name, inlet in tries(number):
                report.send(("begin", number, name))
                try:
                    answer = inlet(Path(place))
                except BaseException as error:  # noqa: BLE001 - every error that is not classified is what we look for
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    at = f"{Path(where.filename).name}:{where.lineno}"
                    report.send(("finding", number, f"{name}: {type(error).__name__} at {at}"))
                else:
                    report.send(("answer", number, f"{name}: {answer}"))
                if left := list(Path(place).iterdir()):
                    report.send(("finding", number, f"{name}: left {len(left)} file(s) behind"))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        report.send(("end", numbers[-1], str(pages * resource.getpagesize())))


def run(numbers: list[int], tries: Tries) -> tuple[collections.Counter[str], list[tuple[int, str]], list[int]]:
    """Answers with their counts, findings, and the children's memory at their ends in bytes."""
    answers: collections.Counter[str] = collections.Counter()
    findings: list[tuple[int, str]] = []
    memory: list[int] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while numbers:
            batch, numbers = numbers[:BATCH], numbers[BATCH:]
            last = _batch(batch, Path(folder), tries, answers, findings, memory)
            numbers = batch[batch.index(last) + 1 :] + numbers
    return answers, findings, memory


def _batch(
    batch: list[int],
    folder: Path,
    tries: Tries,
    answers: collections.Counter[str],
    findings: list[tuple[int, str]],
    memory: list[int],
) -> int:
    """Run one child; the number that it was at when it ended."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=work, args=(batch, folder, tries, theirs))
    child.start()
    theirs.close()
    number, inlet, ended = batch[0], "", False
    try:
        while not ended:
            # Twice: where the whole run was paused meanwhile, the first wait is over without the child having had a chance.
            if not ours.poll(HANG_S / 2) and not ours.poll(HANG_S / 2):
                os.kill(child.pid or 0, signal.SIGKILL)
                findings.append((number, f"{inlet}: hangs for {HANG_S:.0f} s"))
                break
            kind, number, said = ours.recv()
            match kind:
                case "begin":
                    inlet = said
                case "answer":
                    answers[said] += 1
                case "finding":
                    findings.append((number, said))
                case "end":
                    memory.append(int(said))
                    ended = True
    except EOFError:
        child.join()
        findings.append((number, f"{inlet}: the process died ({child.exitcode})"))
    child.join()
    ours.close()
    return number


def main() -> int:
    """Run, print the report as Markdown, and leave with 1 where anything was found."""
    options = argparse.ArgumentParser()
    options.add_argument("--inputs", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", type=int, action="append")
    options.add_argument("--data", type=Path, default=Path(os.environ.get("MED3D_TEST_DATA") or "../shared/data"))
    options.add_argument("--spoken", choices=sorted(SPOKEN))
    given = options.parse_args()
    files = [] if given.spoken else sources(given.data)
    tries = tries_of_spoken(given.spoken) if given.spoken else tries_of_files(files)
    first = given.seed * 1_000_000
    kept = [int(line.split()[0]) for line in SEEDS.read_text().splitlines() if line[:1].isdigit()]
    numbers = given.only or ([] if given.spoken else kept) + list(range(first, first + given.inputs))
    began = time.monotonic()
    answers, findings, memory = run(numbers, tries)
    grown = max(memory) - min(memory) if len(memory) > 1 else 0
    what = (
        f"spoken as {given.spoken}" if given.spoken else f"from {len(files)} files, each through {len(INLETS)} inlets"
    )
    print(f"{len(numbers)} inputs {what} (seed {given.seed}), ")
    print(f"in {time.monotonic() - began:.0f} s: {len(findings)} findings.")
    print(f"Memory of a child after {BATCH} inputs: {max(memory, default=0) / 1e6:.0f} MB at most.")
    for what, count in sorted(collections.Counter(what for _, what in findings).items()):
        numbers_of = [number for number, found in findings if found == what][:5]
        print(f"- **{what}**: {count} times, inputs {numbers_of}")
    print("\n| answer | times |\n|---|---|")
    for answer, count in sorted(answers.items()):
        print(f"| {answer} | {count} |")
    return 1 if findings or grown > GROWTH_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
