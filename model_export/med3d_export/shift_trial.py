"""``med3d-export shifts``: spoil held-out heads, send them through preprocessing and the fold's model, score them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from med3d_export.evaluation.held_out import HeldOut, age_head
from med3d_export.evaluation.shift_scores import ShiftResult, Tried, held_out_novelty, novelty_of, score_shift
from med3d_export.evaluation.shifts import SHIFTS, UNCHANGED, shifted
from med3d_export.experiment import Experiment
from med3d_export.fold_evidence import BrainGrid, FoldEvidence
from med3d_export.processes import start_processes
from med3d_export.subjects.tensor_cache import read_volume, recipe_digest
from med3d_export.training import FittedAutoencoder
from med3d_export.whole_files import write_whole
from med3d_pipeline.bundle.bundle import PreprocessingAssets
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.reading.volume_files.nifti import digest_file
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

    @cached_property
    def key(self) -> str:
        """Names the cached result, by what lies there now: another scan may come to lie where one was."""
        said = hashlib.sha256(f"{self.shift}\t{self.seed}".encode())
        files = [self.source] if self.source.is_file() else sorted(p for p in self.source.rglob("*") if p.is_file())
        for path in files:
            said.update(f"\t{digest_file(path)}".encode())
        return said.hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class ShiftTrial:
    """A trained run and where spoilt tensors are kept."""

    experiment: Experiment
    run_folder: Path
    heads: int

    def run(self, found: HeldOut, studies: dict[str, Path], on_done: Callable[[str], None]) -> list[ShiftResult]:
        """Try every shift on ``heads`` subjects spread over the ages, then each study (by its name) as it is."""
        cohort, good = self.experiment.cohort(), held_out_novelty(found)
        rows = cohort.spread_over_ages(self.heads)
        folds = [self._fold(one) for one in found.chosen[0]]
        asked = [next(fold for fold in folds if row in fold.evidence.test) for row in rows]
        ages, unchanged = cohort.ages_years[rows].tolist(), self._try_heads(UNCHANGED, rows, asked)
        results = []
        for name in SHIFTS:
            results.append(score_shift(name, self._try_heads(name, rows, asked), good, unchanged, ages))
            on_done(name)
        for name, folder in studies.items():
            trial = Trial(folder, AS_IT_IS, 0)
            self._prepare([trial])
            results.append(score_shift(name, [self._try(trial, fold) for fold in folds], good))
            on_done(name)
        return results

    def _try_heads(self, name: str, rows: list[int], asked: "list[FoldModel]") -> list[Tried]:
        cohort = self.experiment.cohort()
        trials = [Trial(cohort.subjects[row].t1w, name, row) for row in rows]
        self._prepare(trials)
        return [self._try(trial, fold) for trial, fold in zip(trials, asked, strict=True)]

    def _prepare(self, trials: list[Trial]) -> None:
        missing = [trial for trial in trials if not self._place(trial).is_file()]
        if not missing:
            return
        with start_processes(self.experiment.jobs, _open, (self.experiment.assets,)) as pool:
            for _ in pool.map(_prepare_one, missing, [self._place(trial) for trial in missing]):
                pass

    def _place(self, trial: Trial) -> Path:
        return self.experiment.cache / "tried" / self._recipe / f"{trial.key}.npz"

    @cached_property
    def _grid(self) -> BrainGrid:
        return self.experiment.brain_grid()

    @cached_property
    def _recipe(self) -> str:
        """What decides what becomes of a head: preprocessing, its networks and template, and the quality limits."""
        said = hashlib.sha256((self.experiment.assets / "preprocessing.json").read_bytes())
        said.update(recipe_digest(self.experiment.assets))
        return said.hexdigest()[:16]

    def _try(self, trial: Trial, fold: "FoldModel") -> Tried:
        with np.load(self._place(trial), allow_pickle=False) as stored:
            tensor, refusal, marked = stored["tensor"], str(stored["refusal"]), bool(stored["marked"])
            measures = dict(zip(stored["names"].tolist(), stored["values"].tolist(), strict=True))
        if not tensor.size:
            return Tried(refusal, marked, None, None, measures)
        latents = fold.fitted.encode(tensor[None])
        novelty = novelty_of(tensor[None], latents, fold.evidence, fold.fitted, self._grid)
        return Tried(refusal, marked, novelty, float(fold.head.predict(latents)[0]), measures)

    def _fold(self, one: FoldEvidence) -> "FoldModel":
        labels = self.experiment.labels(self.experiment.cohort(), self.experiment.prepare())
        head = age_head(one, labels, self.experiment.config.evaluation).head
        return FoldModel(one, self.experiment.fold_fit(self.run_folder, one, self.experiment.config), head)


@dataclass(frozen=True, eq=False)
class FoldModel:
    """One fold of the first repeat: its evidence, and the encoder and age head that have not seen its test subjects."""

    evidence: FoldEvidence
    fitted: FittedAutoencoder
    head: Pipeline


# One preprocessor per process of the pool: sessions cannot be sent between processes.
_opened: list[tuple[Preprocessor, PreprocessingAssets]] = []


def _open(folder: Path) -> None:
    assets = PreprocessingAssets(folder, SessionOptions(threads=1))
    _opened.append((assets.preprocessor(), assets))


def _prepare_one(trial: Trial, place: Path) -> None:
    """Write tensor and quality measures (empty where there are none), the refusal's code, whether the gate marks it."""
    preprocessor, assets = _opened[0]
    tensor, refusal, marked, measures = np.empty(0, np.float32), "", False, {}
    try:
        made = preprocessor(_volume(trial))
        tensor, measures = made.tensor, made.measures
        verdict = judge_quality(made.measures, assets.file.quality_limits)
        marked = bool(verdict.review_reasons)
        refusal = "" if verdict.refusal is None else verdict.refusal.code
    except InputRefused as refused:
        refusal = refused.code
    arrays = {
        "tensor": tensor, "refusal": np.array(refusal), "marked": np.array(marked),
        "names": np.array(list(measures), dtype=np.str_), "values": np.array(list(measures.values()), dtype=np.float64),
    }  # fmt: skip
    write_whole(place, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))


def _volume(trial: Trial) -> Volume:
    if trial.shift != AS_IT_IS:
        return shifted(read_volume(trial.source), trial.shift, trial.seed)
    study = read_study([trial.source])
    return load_series(study, select_series(study).chosen).volume
