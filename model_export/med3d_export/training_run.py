"""What ``med3d-export train`` leaves behind: averaged weights and out-of-fold results, enough to release again."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from med3d_export.config import TrainingConfig
from med3d_export.cross_validation import OutOfFold
from med3d_export.training import EpochReport, FittedInfoVae, Weights, rebuild

PARTS = ("encoder", "decoder")


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """The final model, fitted to every subject, and what the folds' models said of subjects they had not seen."""

    weights: Weights
    curve: tuple[EpochReport, ...]
    out_of_fold: OutOfFold
    minutes: float

    def fitted(self, config: TrainingConfig) -> FittedInfoVae:
        """The final model; ``config`` is the one it was trained with."""
        return rebuild(self.weights, config, self.curve)

    def save(self, folder: Path) -> None:
        """Write encoder.npz, decoder.npz, out_of_fold.npz and loss.json into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            np.savez(folder / f"{part}.npz", allow_pickle=False, **self.weights[part])
        np.savez(folder / "out_of_fold.npz", **{f.name: getattr(self.out_of_fold, f.name) for f in fields(OutOfFold)})
        report = {"minutes": self.minutes, "curve": [asdict(epoch) for epoch in self.curve]}
        (folder / "loss.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def load_run(folder: Path) -> TrainingRun:
    """Read what ``save`` wrote. Raises OSError or KeyError where the folder holds no whole run."""
    arrays = {name: _read(folder / f"{name}.npz") for name in (*PARTS, "out_of_fold")}
    out_of_fold = OutOfFold(**arrays.pop("out_of_fold"))
    report = json.loads((folder / "loss.json").read_text(encoding="utf-8"))
    return TrainingRun(
        weights=arrays,
        curve=tuple(EpochReport(**epoch) for epoch in report["curve"]),
        out_of_fold=out_of_fold,
        minutes=float(report["minutes"]),
    )


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored.items())
