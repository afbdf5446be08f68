"""Work through one study for each line that comes in, and say in a line of JSON how many seconds its parts took.

bench_regression runs two of these, each on the code of another tree: PYTHONPATH says which.
"""

import json
import sys
import time
from pathlib import Path

import med3d_pipeline
from bench.scans import MPRAGE, bundle_path, options
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.study.study import load_series, read_study, select_series

READING, EXTRACTION, REST = PARTS = ("reading", "brain extraction", "bias field to prediction")
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


def seconds_of_one_study(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Processor seconds from files to answer, by part."""
    clock = ProcessorClock()
    study = read_study([folder])
    loaded = load_series(study, select_series(study).chosen)
    made = bundle.preprocessor()(loaded.volume, clock.begin)
    bundle.predictor().predict(made.tensor[None], [SubjectAttributes(age_years=None, sex=None)], [loaded.acquisition])
    clock.end()
    return clock.seconds


def main() -> None:
    given = options(__doc__ or "").parse_args()
    bundle = Bundle.open(bundle_path(given), given.provider, given.threads)
    print(json.dumps({"code": med3d_pipeline.__path__[0], "bundle": f"{bundle.name} {bundle.version}"}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(seconds_of_one_study(bundle, given.data / MPRAGE)), flush=True)


if __name__ == "__main__":
    main()
