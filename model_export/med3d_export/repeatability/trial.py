"""``med3d-export repeatability``: ask a bundle about the same heads again, after each change, and score its answers."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib

from med3d_export.processes import start_processes
from med3d_export.repeatability.answers import Answer, Ask, RepeatedHead, WholeChain, read_series
from med3d_export.repeatability.changes import CHANGES, DICOM_AGAINST_NIFTI, GROUPS, STORED_OTHERWISE, Change, Storage
from med3d_export.repeatability.scores import (
    LEAST_HEADS,
    MeasuredHead,
    Repeatability,
    RepeatabilityError,
    answered,
    refused_as_they_are,
    score_change,
    score_together,
)
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.manifest_files import read_cohort
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import InputRefused, PipelineError
from med3d_pipeline.preprocessing.black_level import raise_to_black
from med3d_pipeline.volume import Volume

ALL_CHANGES = (DICOM_AGAINST_NIFTI, *CHANGES)


def chosen_heads(data: Path, count: int, studies: Sequence[Path]) -> list[RepeatedHead]:
    """Return ``count`` people of the cohort at ``data``, spread over its ages, then the DICOM studies.

    Raises CohortError that names the faulty rows, or where the cohort has fewer people; RepeatabilityError that names a
    study which cannot be read or is no DICOM.
    """
    if count < LEAST_HEADS:
        raise RepeatabilityError(f"--heads {count}: at least {LEAST_HEADS} are needed")
    cohort = read_cohort(data, least_subjects=count)
    return [*_cohort_heads(cohort, count), *(_study_head(number, path) for number, path in enumerate(studies, 1))]


def _cohort_heads(cohort: Cohort, count: int) -> list[RepeatedHead]:
    subjects = [cohort.subjects[place] for place in cohort.spread_over_ages(count)]
    return [RepeatedHead(f"row {one.row}", one.t1w, one.row, one.age_years, one.site) for one in subjects]


def _study_head(number: int, folder: Path) -> RepeatedHead:
    try:
        loaded = read_series(folder)
    except InputRefused as refused:
        raise RepeatabilityError(f"--study, number {number}: {refused}") from refused
    if loaded.instances is None:
        raise RepeatabilityError(f"--study, number {number}: it holds no DICOM series, but NIfTI, which --data is for")
    return RepeatedHead(f"study {number}", folder, number, is_study=True)


def changes_of(head: RepeatedHead) -> tuple[Change, ...]:
    """Return what is done to a head: of a DICOM study, a file in another storage is a NIfTI in a DICOM's place."""
    return tuple(DICOM_AGAINST_NIFTI if head.is_study and change is STORED_OTHERWISE else change for change in CHANGES)


def repeat_head(head: RepeatedHead, ask: Ask, changes: Sequence[Change]) -> MeasuredHead:
    """Ask about the head as it is, then about NIfTI files of it after each of ``changes``.

    Raises RepeatabilityError that names the head where the pipeline fails at it; a refusal is an answer.
    """
    try:
        before = ask(head.source, head)
        if before.brain_age_years is None:
            return MeasuredHead(head.name, before, {})
        loaded = read_series(head.source).volume
        # Noise and gain act on signal, which is what lies above black.
        signal = raise_to_black(loaded).volume
        return MeasuredHead(
            head.name,
            before,
            {
                change.name: _ask_about(loaded if change.group == "rewriting" else signal, head, ask, change)
                for change in changes
            },
        )
    except PipelineError as error:
        raise RepeatabilityError(f"{head.name}: {error}") from error


def _ask_about(volume: Volume, head: RepeatedHead, ask: Ask, change: Change) -> tuple[Answer, ...]:
    answers = []
    for changed, storage in change.changed(volume, head.row):
        with tempfile.TemporaryDirectory() as folder:
            answers.append(ask(write_nifti(changed, storage, Path(folder) / "head.nii"), head))
    return tuple(answers)


def write_nifti(volume: Volume, storage: Storage, path: Path) -> Path:
    """Write ``volume`` with its affine as sform; int16 with a slope and an intercept that use its whole range."""
    image = nib.Nifti1Image(volume.voxels, volume.affine)
    image.set_data_dtype(storage)
    nib.save(image, path)
    return path


def measure_repeatability(
    bundle: Path, heads: Sequence[RepeatedHead], jobs: int, on_done: Callable[[], None] = lambda: None
) -> Repeatability:
    """Ask the bundle in the folder ``bundle`` about every head; ``jobs`` of them at once, which changes no answer.

    Raises BundleError where the bundle is altered or cannot be read, RepeatabilityError as ``repeat_head`` and where
    too few heads are answered.
    """
    opened = Bundle.open(bundle)
    measured = []
    with start_processes(jobs, _open_chain, (bundle,)) as pool:
        for found in pool.map(_repeat, heads):
            measured.append(found)
            on_done()
    return scored(f"{opened.name} {opened.version}", opened.digest, opened.providers, measured)


def scored(name: str, digest: str, providers: tuple[str, ...], heads: Sequence[MeasuredHead]) -> Repeatability:
    """Score every change that was tried on one of ``heads``. Raises RepeatabilityError where too few are answered."""
    kept = answered(heads)
    scores = [score_change(change, kept) for change in ALL_CHANGES]
    groups = {group: score_together(group, ALL_CHANGES, kept) for group in GROUPS}
    return Repeatability(
        bundle=name,
        digest=digest,
        providers=providers,
        changes=tuple(score for score in scores if score is not None),
        together={group: score for group, score in groups.items() if score is not None},
        refused_as_they_are=refused_as_they_are(heads),
        heads=tuple(heads),
    )


# One bundle per process of the pool: sessions cannot be sent between processes.
_chain: list[WholeChain] = []


def _open_chain(bundle: Path) -> None:
    _chain.append(WholeChain(Bundle.open(bundle, threads=1, verify=False)))


def _repeat(head: RepeatedHead) -> MeasuredHead:
    return repeat_head(head, _chain[0], changes_of(head))
