"""Seconds and peak memory of each stage, from a DICOM study to a prediction, on a warm worker.

PYTHONPATH=tests python -m bench.bench_stages [--bundle DIR] [--provider openvino] [--threads 2] [--write]
"""

import time
from pathlib import Path

import psutil

from bench.measuring import BENCHMARKS, offer_to_write, peak_memory, publish, spread, table
from bench.scans import MPRAGE, bundle_path, options
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.study.study import load_series, read_study, select_series

MEBIBYTE = 2**20


class Stages:
    """Seconds and peak memory by stage; a stage ends where the next begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.peaks: dict[str, int] = {}
        self._open: tuple[str, float, object] | None = None

    def begin(self, name: str) -> None:
        self.end()
        memory = peak_memory()
        self._open = (name, time.perf_counter(), (memory, memory.__enter__()))

    def end(self) -> None:
        if self._open is None:
            return
        name, start, (memory, peak) = self._open
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        memory.__exit__(None, None, None)
        self.peaks[name] = max(self.peaks.get(name, 0), peak.highest)
        self._open = None


def one_study(bundle: Bundle, folder: Path, stages: Stages) -> float:
    """Read, preprocess and predict once; the whole's seconds."""
    start = time.perf_counter()
    stages.begin("reading headers and ranking series")
    study = read_study([folder])
    chosen = select_series(study).chosen
    stages.begin("reading the series")
    loaded = load_series(study, chosen)
    made = bundle.preprocessor()(loaded.volume, stages.begin)
    stages.begin("prediction")
    bundle.predictor().predict(made.tensor[None], [SubjectAttributes(age_years=None, sex=None)], [loaded.acquisition])
    stages.end()
    return time.perf_counter() - start


def main() -> None:
    parser = options(__doc__ or "")
    offer_to_write(parser)
    given = parser.parse_args()
    bundle = Bundle.open(bundle_path(given), given.provider, given.threads)
    study = (given.data / MPRAGE).parent
    cold = one_study(bundle, study, Stages())
    stages = Stages()
    wholes = [one_study(bundle, study, stages) for _ in range(given.rounds)]
    rows = [(name, spread(found), f"{stages.peaks[name] / MEBIBYTE:.0f}") for name, found in stages.seconds.items()]
    rows.append(("**whole, warm**", f"**{spread(wholes)}**", f"**{max(stages.peaks.values()) / MEBIBYTE:.0f}**"))
    rows.append(("whole, first study after start", f"{cold:.2f}", ""))
    idle = f"Idle after the last study: {psutil.Process().memory_info().rss / MEBIBYTE:.0f} MiB."
    text = (
        f"Siemens MPRAGE study, 176 slices of 1 mm; {given.rounds} rounds, median and range; {bundle.providers[0]}, "
        f"{given.threads} threads; bundle `{bundle.name}` {bundle.version}.\n\n"
        f"{table(('stage', 'seconds', 'peak resident memory, MiB'), rows)}\n\n{idle}"
    )
    publish("stages", text, BENCHMARKS, write=given.write)


if __name__ == "__main__":
    main()
