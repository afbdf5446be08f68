"""Preprocessed tensors of a cohort, made by the worker's own preprocessing and kept by the digest of what made them."""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from med3d_export.processes import start_processes
from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject
from med3d_export.training import Tensors
from med3d_pipeline.bundle.bundle import PreprocessingAssets
from med3d_pipeline.errors import InputRefused, PipelineError
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.runtime.onnx_sessions import SessionOptions
from med3d_pipeline.volume import Volume

BRAIN_VOLUME = "brain_volume_ml"
ASSET_FILES = ("brain_box.onnx", "brain_mask.onnx", "template.nii.gz", "template_mask.nii.gz")


def default_cache() -> Path:
    """Return $XDG_CACHE_HOME/med3d/export, else ~/.cache/med3d/export: outside any repository."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "med3d" / "export"


@dataclass(frozen=True, eq=False)
class PreparedCohort:
    """tensors (N, X, Y, Z) float32 and measures of the quality gate by name, each (N,), in the cohort's order."""

    tensors: Tensors
    measures: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class TensorCache:
    """Tensors below ``folder``, named by the digest of the input's bytes, the spec, the networks and the template.

    jobs: processes at once, one thread each. A tensor is the same whatever their number.
    """

    folder: Path
    assets: Path
    jobs: int = 2

    def prepare(self, cohort: Cohort, on_done: Callable[[CohortSubject], None] = lambda _: None) -> PreparedCohort:
        """Preprocess what is not there yet, then read all.

        Raises CohortError with the row of each refused head, and of each whose image is that of another row: one scan
        under two names would be learned from and tested on.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        places = self.places(cohort)
        if copies := _copies(places):
            raise CohortError(copies)
        missing = [(subject, place) for subject, place in places.items() if not place.is_file()]
        problems = sorted(self._fill(missing, on_done))
        if problems:
            raise CohortError([text for _, text in problems])
        shape = PreprocessingAssets(self.assets, SessionOptions()).file.spec.shape
        return _read_all(places, shape)

    def places(self, cohort: Cohort) -> dict[CohortSubject, Path]:
        """Tell where each row's tensor is kept, whether it is there yet or not."""
        recipe = recipe_digest(self.assets)
        return {subject: self.folder / f"{_digest(subject.t1w, recipe)}.npz" for subject in cohort.subjects}

    def _fill(
        self, missing: list[tuple[CohortSubject, Path]], on_done: Callable[[CohortSubject], None]
    ) -> Iterator[tuple[int, str]]:
        if not missing:
            return
        with start_processes(self.jobs, _open_preprocessor, (self.assets,)) as pool:
            futures = {pool.submit(_preprocess, subject.t1w, place): subject for subject, place in missing}
            for future in as_completed(futures):
                subject, problem = futures[future], future.result()
                on_done(subject)
                if problem:
                    yield subject.row, f"row {subject.row}: {problem}"


def read_volume(path: Path) -> Volume:
    """Return a NIfTI file as it lies on disk; training heads need no checks beyond nibabel's and the quality gate's."""
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64))


# One preprocessor per process of the pool: sessions cannot be sent between processes.
_preprocessor: list[tuple[Preprocessor, PreprocessingAssets]] = []


def _open_preprocessor(assets: Path) -> None:
    opened = PreprocessingAssets(assets, SessionOptions(threads=1))
    _preprocessor.append((opened.preprocessor(), opened))


def _preprocess(source: Path, place: Path) -> str | None:
    """Write one tensor; the reason where the head is refused."""
    preprocessor, assets = _preprocessor[0]
    try:
        made = preprocessor(read_volume(source))
        verdict = judge_quality(made.measures, assets.file.quality_limits)
        if verdict.refusal is not None:
            return str(verdict.refusal)
    except InputRefused as refusal:
        return str(refusal)
    except (PipelineError, ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    names = sorted(made.measures)
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as part:
        np.savez(part, tensor=made.tensor, names=np.array(names), values=np.array([made.measures[n] for n in names]))
    Path(part.name).replace(place)
    return None


def recipe_digest(assets: Path) -> bytes:
    """Return what decides what a head's tensor is: the spec, the networks and the template in ``assets``."""
    digest = hashlib.sha256()
    # The quality limits decide who is refused, not what a tensor is.
    digest.update(PreprocessingAssets(assets, SessionOptions()).file.spec.digest().encode())
    for name in ASSET_FILES:
        digest.update((assets / name).read_bytes())
    return digest.digest()


def _digest(source: Path, recipe: bytes) -> str:
    digest = hashlib.sha256(recipe)
    digest.update(source.read_bytes())
    return digest.hexdigest()


def _copies(places: dict[CohortSubject, Path]) -> list[str]:
    first: dict[Path, CohortSubject] = {}
    before = [(subject, first.setdefault(place, subject)) for subject, place in places.items()]
    return [
        f"row {subject.row}: the image is that of row {other.row} ({other.participant_id})"
        for subject, other in before
        if other is not subject
    ]


def _read_all(places: dict[CohortSubject, Path], shape: tuple[int, int, int]) -> PreparedCohort:
    tensors, measures, problems = [], [], []
    for subject, place in places.items():
        with np.load(place, allow_pickle=False) as stored:
            tensor = stored["tensor"]
            measures.append(dict(zip(stored["names"].tolist(), stored["values"].tolist(), strict=True)))
        if tensor.shape != shape:
            problems.append(
                f"row {subject.row}: its cached tensor has the grid {tensor.shape}, not {shape}; delete {place}"
            )
        elif not np.isfinite(tensor).all():
            problems.append(f"row {subject.row}: its cached tensor holds values that are not finite; delete {place}")
        tensors.append(tensor)
    if problems:
        raise CohortError(problems)
    names = measures[0].keys()
    return PreparedCohort(np.stack(tensors), {name: np.array([m[name] for m in measures]) for name in names})
