"""The peer of a worker: a ``for`` loop that calls med3d_pipeline and does nothing else.

    python -m bench.plain_loop THREADS FILE...

Says "ready" when the model is loaded and proven, begins at a line on stdin, says how many seconds it took.
"""

import sys
import time
from pathlib import Path

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.study.study import load_series, read_study, select_series


def one(bundle, path):
    study = read_study([path])
    loaded = load_series(study, select_series(study).chosen)
    made = bundle.preprocessor()(loaded.volume, lambda _: None)
    assert judge_quality(made.measures, bundle.quality_limits).refusal is None, path.name
    return bundle.predictor().predict(made.tensor[None], [SubjectAttributes()], [loaded.acquisition])


def main():
    threads, files = int(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    bundle = Bundle.open(Bundle.default_path(), "auto", threads)
    bundle.run_reference_case()
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for path in files:
        one(bundle, path)
    print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
