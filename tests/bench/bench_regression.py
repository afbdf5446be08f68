"""Fails where a stage has become slower than it was, held against a peer that is measured in the same run.

PYTHONPATH=tests python -m bench.bench_regression [--rounds 8] [--renew]

Ratios of processor time are kept in peer_ratios.json, no absolute times. --renew writes them anew, and the table in
docs/benchmarks.md: with the change that explains them, on a machine with nothing else to do.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk

from bench.measuring import BENCHMARKS, publish, table
from bench.peers_at_hand import correct_and_align, multiply_matrices, read_series
from bench.scans import MPRAGE, bundle_path, options
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.study.study import load_series, read_study, select_series

KEPT = Path(__file__).with_name("peer_ratios.json")
MOST_SLOWER = 0.15
READING, EXTRACTION, REST = "reading", "brain extraction", "bias field to prediction"
PEERS = {
    READING: "SimpleITK's series reader",
    EXTRACTION: "numpy, 8 products of 2048 x 2048",
    REST: "SimpleITK's N4, affine and B-spline",
}
# A stage of the pipeline begins one of these, or goes on with the one before.
BEGINS = {"brain extraction": EXTRACTION, "bias field": REST}


class ProcessorClock:
    """Processor seconds, of all threads, by part: others on the machine weigh less on them than on the wall clock."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part, self._start = READING, time.process_time()

    def begin(self, stage: str) -> None:
        if stage not in BEGINS:
            return
        self.end()
        self._part = BEGINS[stage]

    def end(self) -> None:
        now = time.process_time()
        self.seconds[self._part] = now - self._start
        self._start = now


def our_seconds(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Processor seconds of one study by part."""
    clock = ProcessorClock()
    study = read_study([folder])
    loaded = load_series(study, select_series(study).chosen)
    made = bundle.preprocessor()(loaded.volume, clock.begin)
    bundle.predictor().predict(made.tensor[None], [SubjectAttributes(age_years=None, sex=None)], [loaded.acquisition])
    clock.end()
    return clock.seconds


def peer_seconds(folder: Path, template: sitk.Image) -> dict[str, float]:
    """Processor seconds of the peers by the part that they stand beside."""
    head = read_series(folder)
    work: dict[str, Callable[[], object]] = {
        READING: lambda: read_series(folder),
        EXTRACTION: multiply_matrices,
        REST: lambda: correct_and_align(head, template),
    }
    return {part: _processor_seconds(run) for part, run in work.items()}


def _processor_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def ratios(ours: dict[str, float], peers: dict[str, float]) -> dict[str, float]:
    """How long each part takes in units of its peer, and the whole in units of theirs together."""
    by_part = {part: ours[part] / peers[part] for part in PEERS}
    return by_part | {"whole": sum(ours.values()) / sum(peers.values())}


def slower(found: dict[str, float], kept: dict[str, float]) -> list[str]:
    """Parts that take more than MOST_SLOWER longer beside their peer than what is kept says."""
    return [part for part, ratio in found.items() if ratio > kept[part] * (1 + MOST_SLOWER)]


def least(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The least seconds of each part: whatever else the machine did only adds to them."""
    return {part: min(one[part] for one in rounds) for part in rounds[0]}


def main() -> int:
    parser = options(__doc__ or "")
    parser.add_argument("--renew", action="store_true", help="keep what is found from now on")
    parser.set_defaults(rounds=8)
    given = parser.parse_args()
    bundle = Bundle.open(bundle_path(given), given.provider, given.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(given.threads)
    folder = given.data / MPRAGE
    template = sitk.ReadImage(str(bundle_path(given) / "template.nii.gz"), sitk.sitkFloat32)
    our_seconds(bundle, folder), peer_seconds(folder, template)  # warm
    pairs = [(our_seconds(bundle, folder), peer_seconds(folder, template)) for _ in range(given.rounds)]
    ours, peers = least([a for a, _ in pairs]), least([b for _, b in pairs])
    found = ratios(ours, peers)
    if given.renew:
        KEPT.write_text(json.dumps({part: round(ratio, 3) for part, ratio in found.items()}, indent=2) + "\n")
    kept = json.loads(KEPT.read_text())
    rows = [
        (part, f"{ours[part]:.2f}", PEERS[part], f"{peers[part]:.2f}", f"{found[part]:.3f}", f"{kept[part]:.3f}")
        for part in PEERS
    ]
    rows.append(
        (
            "**whole**",
            f"{sum(ours.values()):.2f}",
            "all three",
            f"{sum(peers.values()):.2f}",
            f"**{found['whole']:.3f}**",
            f"**{kept['whole']:.3f}**",
        )
    )
    text = table(("part", "ours, s of processor", "peer", "peer, s of processor", "ratio", "kept"), rows)
    publish("regression", f"{text}\n\n{given.rounds} rounds, the least of each.", BENCHMARKS, write=given.renew)
    worse = slower(found, kept)
    if worse:
        print(f"\nSlower than kept by more than {MOST_SLOWER:.0%}: {', '.join(worse)}.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
