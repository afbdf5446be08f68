"""What defacing takes: skin before the brain and years of the answer, with the face and without.

PYTHONPATH=tests python -m bench.bench_defacing [--data FOLDER] [--heads 4] [--pictures FOLDER]
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from bench.measuring import machine, table
from bench.scans import HEAD_WITH_MASK, MPRAGE, bundle_path, options
from med3d_pipeline import Bundle, InputRefused, Volume, judge_quality
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.preprocessing.defacing import deface
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.study.acquisition import Acquisition
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.science.faces import skin_before_brain

AIM_YEARS = 0.5


class Reader:
    """Reads heads by one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._preprocess, self._limits = bundle.preprocessor(), bundle.quality_limits
        self._predictor = bundle.predictor()

    def __call__(self, head: Volume, acquisition: Acquisition) -> tuple[Preprocessed, float, set[str]]:
        """Preprocess and answer: years, and the codes of what is to be looked at. Raises InputRefused."""
        made = self._preprocess(head)
        verdict = judge_quality(made.measures, self._limits)
        if verdict.refusal is not None:
            raise verdict.refusal
        [found] = self._predictor.predict(
            made.tensor[None], [SubjectAttributes()], [acquisition], [verdict.review_reasons]
        )
        if isinstance(found, InputRefused):
            raise found
        return made, found.brain_age.estimate, {str(one.code) for one in found.reasons}


def main() -> None:
    """Measure, and fail where an aim is missed."""
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=4, help="of ixi_hh, evenly among all")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each head, before and after")
    given = parser.parse_args()
    read = Reader(Bundle.open(bundle_path(given), verify=False))
    listed = sorted((given.data / "ixi_hh/t1w").glob("*.nii.gz"))
    paths = [given.data / MPRAGE, given.data / HEAD_WITH_MASK, *listed[:: max(1, len(listed) // given.heads)]]
    rows, good = [], True
    for number, path in enumerate(paths[: given.heads + 2], 1):
        study = read_study([path])
        series = load_series(study, select_series(study).chosen)
        head = to_closest_ras(series.volume)
        made, years, codes = read(head, series.acquisition)
        without = deface(head, made.brain_mask, made.template_to_native)
        brain = made.brain_mask > 0
        same = bool(np.array_equal(without.voxels[brain], head.voxels[brain]))
        skin = skin_before_brain(head, brain), skin_before_brain(without, brain)
        _, years_without, codes_without = read(without, series.acquisition)
        moved = years_without - years
        good &= same and skin[1] == 0 and abs(moved) <= AIM_YEARS
        new = ", ".join(sorted(codes_without - codes)) or "-"
        rows.append([path.name[:16], f"{skin[0]:.0%}", f"{skin[1]:.1%}", "yes" if same else "no", f"{moved:+.2f}", new])
        if given.pictures:
            _draw(given.pictures / f"{number}.png", head, without, brain)
    print(machine())
    print(table(["head", "skin before", "after", "brain unchanged", "years", "new reasons"], rows))
    raise SystemExit(0 if good else 1)


def _draw(path: Path, *heads_and_brain: Volume | np.ndarray) -> None:
    head, without, brain = heads_and_brain
    assert isinstance(head, Volume)
    assert isinstance(without, Volume)
    assert isinstance(brain, np.ndarray)
    x, _, z = (int(at) for at in np.argwhere(brain).mean(axis=0))
    white = float(np.percentile(head.voxels, 99.5))
    cuts = [one.voxels[x][::-1, ::-1].T for one in (head, without)]
    cuts += [one.voxels[:, :, max(0, z - 20)][::-1, ::-1].T for one in (head, without)]
    tall = max(cut.shape[0] for cut in cuts)
    padded = [np.pad(cut, ((0, tall - cut.shape[0]), (0, 4))) for cut in cuts]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.hstack(padded) / white * 255, 0, 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
