"""Seconds of N4 by products along the axes beside SimpleITK's filter, and how far their fields lie apart.

PYTHONPATH=tests python -m bench.bench_bias_field [--rounds 3]
"""

import statistics

import numpy as np

from bench.measuring import BENCHMARKS, alternating, offer_to_write, publish, spread, table
from bench.scans import options, preprocessor, several_heads
from med3d_pipeline.preprocessing.bias_field import few_voxels
from med3d_pipeline.preprocessing.n4 import Climb, estimate_log_field, whole_grid
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.volume import Volume
from rig.science.simple_itk_n4 import field_by_simple_itk


def row(name: str, head: Volume, preprocess: Preprocessor, rounds: int) -> tuple[str, ...]:
    """One head: seconds of both, their ratio, the farthest that the fields' logarithms lie apart in the brain."""
    spec = preprocess.spec
    first = preprocess.views(preprocess.find_brain(head))[0]
    few = few_voxels(first.head, first.share, spec.bias_field.grid_mm)
    stop = (spec.bias_field.iterations, spec.bias_field.convergence)  # without momentum, as ITK's filter is
    given, where = (few.voxels, few.mask), tuple(np.arange(size, dtype=np.float64) for size in few.voxels.shape)
    ours_given = (*given, whole_grid(few.voxels.shape), Climb(*stop))
    ours, theirs = alternating(
        lambda: estimate_log_field(*ours_given), lambda: field_by_simple_itk(*given, *stop), rounds
    )
    fields = [estimate_log_field(*ours_given).at(where)[few.mask], field_by_simple_itk(*given, *stop)[few.mask]]
    apart = np.abs(np.subtract(*(field - field.mean() for field in fields))).max()
    ratio = statistics.median(theirs) / statistics.median(ours)
    return name, spread(ours), spread(theirs), f"{ratio:.0f}x", f"{apart:.0e}"


def main() -> None:
    parser = options(__doc__ or "")
    offer_to_write(parser)
    given = parser.parse_args()
    preprocess = preprocessor(given)
    rows = [row(name, head, preprocess, given.rounds) for name, head in several_heads(given.data).items()]
    text = table(("head", "ours, s", "SimpleITK, s", "quicker by", "fields apart, at most"), rows)
    publish("bias field", f"{text}\n\n{given.rounds} rounds in turn.", BENCHMARKS, write=given.write)


if __name__ == "__main__":
    main()
