"""Fails where a study takes longer than by the code of a kept revision, which runs beside it, in turn, on the same head.

PYTHONPATH=tests python -m bench.bench_regression [--rounds 8] [--beside REVISION] [--write]

The revision is kept in beside_revision.txt. A change that is meant to cost time puts one there that has that cost, and
says why. Peers of other makers are no measure for this: the ratio to them moves by a third from one host to the next.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.measuring import BENCHMARKS, offer_to_write, publish, table
from bench.one_study import PARTS
from bench.scans import options

ROOT = Path(__file__).parents[2]
KEPT = Path(__file__).with_name("beside_revision.txt")
CODE = ("service", "worker", "model_export/bundles")
MOST_SLOWER = 0.15
WHOLE = "whole"


class Worked:
    """A process that works studies by the code of one tree."""

    def __init__(self, process: subprocess.Popen[str], tree: Path) -> None:
        self._process = process
        said = self._answer()
        self.bundle = said["bundle"]
        if not Path(said["code"]).is_relative_to(tree):
            raise SystemExit(f"the code of {said['code']} was measured in place of that of {tree}")

    def seconds_of_one_study(self) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        by_part = self._answer()
        return by_part | {WHOLE: sum(by_part.values())}

    def _answer(self):
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process that works the studies has ended; what it said stands above")
        return json.loads(line)


@contextmanager
def works_by(tree: Path, arguments: list[str]) -> Iterator[Worked]:
    """Start ``one_study`` on the code of ``tree``; only the benchmark itself is always this tree's."""
    path = os.pathsep.join(str(tree / name) for name in ("service", "worker"))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.one_study", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([path, str(ROOT / "tests")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Worked(process, tree)
        finally:
            process.terminate()


@contextmanager
def tree_of(revision: str, repository: Path = ROOT) -> Iterator[Path]:
    """Unpack code and bundle of a revision for as long as they are needed."""
    with tempfile.TemporaryDirectory(prefix="med3d-beside-") as folder:
        packed = Path(folder) / "tree.tar"
        done = subprocess.run(["git", "-C", repository, "archive", "--output", packed, revision, *CODE], check=False)
        if done.returncode:
            raise SystemExit(f"git has no revision {revision} here; fetch it, or give another with --beside")
        tree = Path(folder) / "tree"
        with tarfile.open(packed) as archive:
            archive.extractall(tree, filter="data")
        packed.unlink()
        yield tree


def least(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The least seconds of each part: whatever else the machine did only adds to them."""
    return {part: min(one[part] for one in rounds) for part in rounds[0]}


def ratios(ours: dict[str, float], beside: dict[str, float]) -> dict[str, float]:
    """How long each part takes in units of the kept revision's."""
    return {part: ours[part] / beside[part] for part in ours}


def slower(found: dict[str, float]) -> list[str]:
    """Parts that take more than MOST_SLOWER longer."""
    return [part for part, ratio in found.items() if ratio > 1 + MOST_SLOWER]


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--beside", default=KEPT.read_text().strip(), help="a revision of this repository")
    offer_to_write(parser)
    parser.set_defaults(rounds=8)
    given = parser.parse_args()
    arguments = ["--data", str(given.data), "--provider", given.provider, "--threads", str(given.threads)]
    with ExitStack() as open_:
        ours = open_.enter_context(
            works_by(ROOT, arguments + (["--bundle", str(given.bundle)] if given.bundle else []))
        )
        before = open_.enter_context(works_by(open_.enter_context(tree_of(given.beside)), arguments))
        both = ours, before
        for one in both:
            one.seconds_of_one_study()  # warm
        rounds = [[one.seconds_of_one_study() for one in both] for _ in range(given.rounds)]
        bundles = f"{ours.bundle}, beside it {before.bundle}"
    here, there = (least([one[side] for one in rounds]) for side in (0, 1))
    found = ratios(here, there)
    rows = [(part, f"{here[part]:.2f}", f"{there[part]:.2f}", f"{found[part]:.3f}") for part in (*PARTS, WHOLE)]
    text = table(("part", "this tree, s of processor", f"{given.beside}, s of processor", "ratio"), rows)
    publish(
        "regression", f"{text}\n\n{given.rounds} rounds, the least of each; {bundles}.", BENCHMARKS, write=given.write
    )
    worse = slower(found)
    if worse:
        print(f"\nSlower than at {given.beside} by more than {MOST_SLOWER:.0%}: {', '.join(worse)}.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
