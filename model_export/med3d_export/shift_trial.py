"""``med3d-export shifts``: spoil held-out heads, send them through preprocessing and the fold's model, score them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from med3d_export.evaluation.held_out import HeldOut
from med3d_export.evaluation.shift_scores import ShiftResult, Tried, held_out_novelty, novelty_of, score_shift
from med3d_export.evaluation.shifts import SHIFTS, shifted
from med3d_export.experiment import Experiment
from med3d_export.fold_evidence import BrainGrid, FoldEvidence
from med3d_export.processes import start_processes
from med3d_export.subjects.tensor_cache import read_volume
from med3d_export.training import FittedAutoencoder
from med3d_export.whole_files import write_whole
from med3d_pipeline.bundle.bundle import PreprocessingAssets
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.runtime.onnx_sessions import SessionOptions
from med3d_pipeline.study.study import load_series, read_study, select_series
from med3d_pipeline.volume import Volume

AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Trial:
    """One head to be tried: a file of the cohort and a shift's name, or a folder of a study as it is."""

    source: Path
    shift: str
    seed: int

    @property
    def key(self) -> str:
        """Names the cached result."""
        said = f"{self.source.resolve()}\t{self.shift}\t{self.seed}"
        return hashlib.sha256(said.encode()).hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class ShiftTrial:
    """A trained run and where spoilt tensors are kept."""

    experiment: Experiment
    run_folder: Path
    heads: int

    def run(self, found: HeldOut, studies: dict[str, Path], on_done: Callable[[str], None]) -> list[ShiftResult]:
        """Try every shift on ``heads`` subjects spread over the ages, then each study (by its name) as it is."""
        cohort, grid = self.experiment.cohort(), self.experiment.brain_grid()
        good = held_out_novelty(found)
        rows = cohort.spread_over_ages(self.heads)
        results = []
        for name in SHIFTS:
            trials = [Trial(cohort.subjects[row].t1w, name, row) for row in rows]
            self._prepare(trials)
            tried = [self._try(trial, _fold_of(found, row), grid) for trial, row in zip(trials, rows, strict=True)]
            results.append(score_shift(name, tried, good))
            on_done(name)
        for name, folder in studies.items():
            trial = Trial(folder, AS_IT_IS, 0)
            self._prepare([trial])
            results.append(score_shift(name, [self._try(trial, one, grid) for one in found.chosen[0]], good))
            on_done(name)
        return results

    def _prepare(self, trials: list[Trial]) -> None:
        missing = [trial for trial in trials if not self._place(trial).is_file()]
        if not missing:
            return
        with start_processes(self.experiment.jobs, _open, (self.experiment.assets,)) as pool:
            for _ in pool.map(_prepare_one, missing, [self._place(trial) for trial in missing]):
                pass

    def _place(self, trial: Trial) -> Path:
        recipe = PreprocessingAssets(self.experiment.assets, SessionOptions()).file.spec.digest()[:16]
        return self.experiment.cache / "shifted" / recipe / f"{trial.key}.npz"

    def _try(self, trial: Trial, one: FoldEvidence, grid: BrainGrid) -> Tried:
        with np.load(self._place(trial), allow_pickle=False) as stored:
            tensor, refusal, marked = stored["tensor"], str(stored["refusal"]), bool(stored["marked"])
        if not tensor.size:
            return Tried(refusal, marked, None)
        return Tried(refusal, marked, novelty_of(tensor[None], one, self._fitted(one), grid))

    def _fitted(self, one: FoldEvidence) -> FittedAutoencoder:
        return self.experiment.fold_fit(self.run_folder, one, self.experiment.config)


def _fold_of(found: HeldOut, row: int) -> FoldEvidence:
    return next(one for one in found.chosen[0] if row in one.test)


# One preprocessor per process of the pool: sessions cannot be sent between processes.
_opened: list[tuple[Preprocessor, PreprocessingAssets]] = []


def _open(folder: Path) -> None:
    assets = PreprocessingAssets(folder, SessionOptions(threads=1))
    _opened.append((assets.preprocessor(), assets))


def _prepare_one(trial: Trial, place: Path) -> None:
    """Write tensor (empty where there is none), the refusal's code and whether the gate marks the head."""
    preprocessor, assets = _opened[0]
    tensor, refusal, marked = np.empty(0, np.float32), "", False
    try:
        made = preprocessor(_volume(trial))
        tensor = made.tensor
        verdict = judge_quality(made.measures, assets.file.quality_limits)
        marked = bool(verdict.review_reasons)
        refusal = "" if verdict.refusal is None else verdict.refusal.code
    except InputRefused as refused:
        refusal = refused.code
    arrays = {"tensor": tensor, "refusal": np.array(refusal), "marked": np.array(marked)}
    write_whole(place, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))


def _volume(trial: Trial) -> Volume:
    if trial.shift != AS_IT_IS:
        return shifted(read_volume(trial.source), trial.shift, trial.seed)
    study = read_study([trial.source])
    return load_series(study, select_series(study).chosen).volume
