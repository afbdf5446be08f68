"""What ``med3d-export train`` leaves in its folder: evidence of every fold, weights and curve of the last fit.

fits/seed-2510-fold-1-candidate-1.npz    FoldEvidence
weights/seed-2510-fold-1-candidate-1/    encoder.npz, decoder.npz of the first repeat's folds
encoder.npz, decoder.npz, loss.json      of the fit to everyone, which is released
checkpoints/seed-2510-fold-1-candidate-1/  events for TensorBoard; a checkpoint while the fit is not done
minutes.json                             what all fits took together
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from med3d_export.config import TrainingConfig
from med3d_export.training import EpochReport, FittedAutoencoder, Weights, rebuild
from med3d_export.whole_files import write_whole

PARTS = ("encoder", "decoder")
FITS = "fits"
WEIGHTS = "weights"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"


class RunBusy(Exception):  # noqa: N818 - what is wrong is said by the name
    """Another command works in the folder of the run."""


@contextmanager
def work_alone(folder: Path) -> Iterator[None]:
    """Hold the folder of a run: two commands in it would each fit what is missing, and write into each other's fits.

    Raises RunBusy where another holds it. The lock ends with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusy(f"another command works in {folder}: wait for it, or choose another --run") from None
        yield


class RunIncomplete(Exception):  # noqa: N818 - what is wrong is said by the name
    """A fit that is asked for has not been made; the message says which and what makes it."""


@dataclass(frozen=True, eq=False)
class FinalFit:
    """The fit to every subject: weights, loss curve, and the minutes that all fits of the run took together."""

    weights: Weights
    curve: tuple[EpochReport, ...]
    minutes: float

    def fitted(self, config: TrainingConfig) -> FittedAutoencoder:
        """Return the final model; ``config`` is the one it was trained with."""
        return rebuild(self.weights, config, self.curve)


def save_weights(weights: Weights, folder: Path) -> None:
    """Write encoder.npz and decoder.npz, the decoder last: where it is there, both are."""
    for part in PARTS:
        arrays: dict[str, Any] = dict(weights[part])
        write_whole(folder / f"{part}.npz", lambda stream, kept=arrays: np.savez(stream, **kept))  # type: ignore[misc]


def has_weights(folder: Path) -> bool:
    """Tell whether both parts were written."""
    return (folder / f"{PARTS[-1]}.npz").is_file()


def read_weights(folder: Path) -> Weights:
    """Read what ``save_weights`` wrote. Raises OSError where it is not there."""
    return {part: _read(folder / f"{part}.npz") for part in PARTS}


def save_curve(curve: tuple[EpochReport, ...], folder: Path) -> None:
    """Write loss.json."""
    text = json.dumps([report.plain() for report in curve], indent=1) + "\n"
    write_whole(folder / "loss.json", lambda stream: stream.write(text.encode()))


def add_minutes(folder: Path, minutes: float) -> None:
    """Add to what the run has taken so far; a run that goes on after a stop counts both parts."""
    text = json.dumps({"minutes": minutes + read_minutes(folder)}).encode()
    write_whole(folder / "minutes.json", lambda stream: stream.write(text))


def read_minutes(folder: Path) -> float:
    """Return minutes of all fits so far; 0 where none was timed."""
    path = folder / "minutes.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["minutes"]) if path.is_file() else 0.0


def load_final_fit(folder: Path) -> FinalFit:
    """Read the fit to everyone. Raises RunIncomplete where there is none."""
    if not has_weights(folder):
        raise RunIncomplete("the run has no fit to everyone yet: train it first (med3d-export train)")
    report = json.loads((folder / "loss.json").read_text(encoding="utf-8"))
    curve = tuple(EpochReport(**epoch) for epoch in report)
    return FinalFit(read_weights(folder), curve, read_minutes(folder))


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored.items())
