"""Which objects of the store belong to studies."""

from collections.abc import Collection
from pathlib import PurePosixPath

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.tables import RunRow, StudyRow, UploadRow
from med3d_service.studies.original_names import original_key
from med3d_service.studies.working_copy.names import working_keys
from med3d_store.object_store import ObjectStore


def keys_of(session: Session, store: ObjectStore, study_ids: Collection[str]) -> list[str]:
    """List originals, working copies, tensors with pictures, stored outcomes, reports, explanations and volumes."""
    keys = input_keys(session, study_ids) | tensor_keys(session, RunRow.study_id.in_(study_ids))
    run_ids = set(session.scalars(select(RunRow.id).where(RunRow.study_id.in_(study_ids))))
    keys |= {
        stored.key
        for folder in ("reports", "explanations", "volumes")
        for run in run_ids
        for stored in store.list(f"{folder}/{run}")
    }
    # Answers lie side by side, results/RUN.ATTEMPT.json, and only until the API has taken them: few at any time.
    answers = (stored.key for stored in store.list("results"))
    return sorted(keys | {key for key in answers if PurePosixPath(key).name.partition(".")[0] in run_ids})


def input_keys(session: Session, study_ids: Collection[str]) -> set[str]:
    """List originals and working copies."""
    keys = set(session.scalars(select(UploadRow.key).where(UploadRow.study_id.in_(study_ids))))
    arrived = (
        select(ArrivedInstanceRow.upload_id)
        .join(ArrivalRow, ArrivalRow.id == ArrivedInstanceRow.arrival_id)
        .where(ArrivalRow.study_id.in_(study_ids) | ArrivalRow.late_study_id.in_(study_ids))
    )
    keys |= {original_key(upload_id) for upload_id in session.scalars(arrived)}
    copies = select(StudyRow.id, StudyRow.working_claim, StudyRow.working_key).where(StudyRow.id.in_(study_ids))
    for study_id, last_claim, key in session.execute(copies):
        keys |= working_keys(study_id, last_claim) | ({key} if key else set())
    return keys


def tensor_keys(session: Session, ours: ColumnElement[bool]) -> set[str]:
    """Return tensors and pictures of runs that no other run holds: the cache knows content, not studies."""
    key = RunRow.preprocessed["tensor"]["key"].as_string()
    held = RunRow.preprocessed.is_not(None) & RunRow.tensor_removed_at.is_(None)
    others = set(session.scalars(select(key).where(~ours, held)))
    found = set()
    for tensor, pictures in session.execute(select(key, RunRow.pictures).where(ours, held)):
        if tensor is None or tensor in others:
            continue
        found.add(tensor)
        if pictures is not None:
            found.add(str(pictures["key"]))
    return found
