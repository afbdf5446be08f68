"""Taking one class of what is kept out of the rows; the objects are listed, and go after the commit."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from med3d_contract.explanations import explanation_key
from med3d_contract.results import Refusal
from med3d_contract.volumes import all_volume_keys
from med3d_contract.work import Preprocessed
from med3d_service.cohorts.tables import FiguresRow
from med3d_service.custody.erasure.objects import input_keys, tensor_keys
from med3d_service.custody.retention.tables import RemovalRow
from med3d_service.storage.arrival_tables import AppraisalRow, ArrivalRow
from med3d_service.storage.copy_states import ANY, CopyStatus, move_copies
from med3d_service.storage.database import db_now, now_of
from med3d_service.storage.tables import RunRow
from med3d_store.object_store import ObjectStore

OF_WORKERS = ("tensors/", "pictures/")
INPUT_REMOVED = "input_removed"
REMOVED_SINCE = (
    "The study's images were removed when the time to keep them was over. To have it analysed again, let an admin "
    "erase it and send all of it again."
)


def remove_input(session: Session, study_ids: Collection[str]) -> None:
    """Let originals, working copies and the volumes made of them go.

    What was answered stays; what is asked of the study anew is refused.
    New images of it that come later are an input of their own (intake.settling).
    """
    looked_at = session.scalars(select(RunRow.id).where(RunRow.study_id.in_(study_ids)))
    _plan(session, sorted(input_keys(session, study_ids).union(*map(all_volume_keys, looked_at))))
    refusal = Refusal(code=INPUT_REMOVED, reason=REMOVED_SINCE).model_dump(mode="json")
    values = {"input_removed_at": db_now(), "working_key": None, "working_sha256": None, "refusal": refusal}
    move_copies(session, study_ids, ANY, CopyStatus.REFUSED, **values)
    of_these = or_(ArrivalRow.study_id.in_(study_ids), ArrivalRow.late_study_id.in_(study_ids))
    session.execute(update(ArrivalRow).where(of_these).values(input_removed_at=db_now()))
    undecided = AppraisalRow.study_id.in_(study_ids) & AppraisalRow.eligible.is_(None)
    session.execute(update(AppraisalRow).where(undecided).values(eligible=[]))  # nothing is left to look at


def remove_tensors(session: Session, run_ids: Collection[str]) -> None:
    """Let tensors, pictures, explanations and volumes go; one that another run holds stays until that one's time."""
    shown = {explanation_key(run_id) for run_id in run_ids}.union(*map(all_volume_keys, run_ids))
    _plan(session, sorted(tensor_keys(session, RunRow.id.in_(run_ids)) | shown))
    session.execute(update(RunRow).where(RunRow.id.in_(run_ids)).values(tensor_removed_at=db_now(), pictures=None))


def remove_of_erased(session: Session, run_ids: Collection[str], left: Mapping[str, Preprocessed]) -> None:
    """Let go of what a worker has stored for those of ``run_ids`` that were erased while it worked.

    Their rows are gone, so this is the last time that anybody names these objects.
    """
    if not run_ids:
        return
    erased = set(run_ids) - set(session.scalars(select(RunRow.id).where(RunRow.id.in_(run_ids))))
    objects = [one for run_id in erased for one in (left[run_id].tensor, left[run_id].findings.pictures)]
    stored = {one.key for one in objects if one is not None}
    ours = {key for key in stored if key.startswith(OF_WORKERS)}  # a worker's word removes nothing else
    if ours:
        tensor = RunRow.preprocessed["tensor"]["key"].as_string()
        pictures = RunRow.pictures["key"].as_string()
        held = session.execute(select(tensor, pictures).where(or_(tensor.in_(ours), pictures.in_(ours))))
        _plan(session, sorted(ours - {key for pair in held for key in pair}))


def remove_latents(session: Session, runs: Sequence[RunRow]) -> None:
    """Take the latent out of results, and its place on the maps out of the figures; the estimates stay."""
    for run in runs:
        run.result = {**(run.result or {}), "latent": None}
    ids = [run.id for run in runs]
    session.execute(update(FiguresRow).where(FiguresRow.run_id.in_(ids)).values(pca_1=None, pca_2=None))


def finish(session: Session, store: ObjectStore, removal: RemovalRow) -> None:
    """Remove the listed objects; safe to be broken off and repeated."""
    for key in removal.objects:
        store.delete(key)
    session.delete(removal)


def pending(session: Session, limit: int) -> Sequence[RemovalRow]:
    """Return what is still to be removed, the oldest first."""
    return session.scalars(select(RemovalRow).order_by(RemovalRow.id).limit(limit)).all()


def _plan(session: Session, keys: list[str]) -> None:
    if keys:
        session.add(RemovalRow(planned_at=now_of(session), objects=keys))
