"""A split as a file, so that every run and every later comparison tests on the same people."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from med3d_export.subjects.cohort import Cohort, CohortError
from med3d_export.subjects.folds import Fold, Split, SplitKind


class _StoredFold(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    test: tuple[str, ...] = Field(min_length=1, description="participants; the others train")


class _StoredSplit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    kind: SplitKind
    seed: int | None
    strata: tuple[str, ...]
    cohort_sha256: str
    folds: tuple[_StoredFold, ...] = Field(min_length=1)


def write_split(split: Split, cohort: Cohort, path: Path) -> None:
    """Write the participants of every fold's test set as JSON."""
    ids = cohort.participant_ids
    folds = tuple(_StoredFold(name=f.name, test=tuple(dict.fromkeys(ids[f.test].tolist()))) for f in split.folds)
    stored = _StoredSplit(
        kind=split.kind, seed=split.seed, strata=split.strata, cohort_sha256=cohort.digest(), folds=folds
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored.model_dump(), indent=1) + "\n", encoding="utf-8")


def read_split(path: Path, cohort: Cohort) -> Split:
    """Read what ``write_split`` wrote, as row indices of ``cohort``.

    Raises CohortError where the file is no split, belongs to another cohort, or tests somebody twice.
    """
    try:
        stored = _StoredSplit.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CohortError([f"{path.name} is no split: {error}"]) from error
    tested = [person for fold in stored.folds for person in fold.test]
    ids = cohort.participant_ids
    problems = [f"{path.name} tests {person}, who is not in the cohort" for person in sorted(set(tested) - set(ids))]
    if not problems and stored.cohort_sha256 != cohort.digest():
        problems.append(
            f"{path.name} was made for another cohort: split again, or use the manifest that it was made for"
        )
    problems += [f"{path.name} tests {person} twice" for person in sorted({p for p in tested if tested.count(p) > 1})]
    if problems:
        raise CohortError(problems)
    folds = []
    for fold in stored.folds:
        held = np.isin(ids, fold.test)
        folds.append(Fold(np.flatnonzero(~held), np.flatnonzero(held), fold.name))
    return Split(stored.kind, stored.seed, stored.strata, tuple(folds))
