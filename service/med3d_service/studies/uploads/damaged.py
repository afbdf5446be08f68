"""Studies whose stored originals are damaged or gone: the same study, sent again, takes their place."""

from collections.abc import Sequence

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from med3d_service.runs.endings import ORIGINAL_DAMAGED
from med3d_service.runs.starting import look_again
from med3d_service.storage.arrival_tables import ArrivedInstanceRow
from med3d_service.storage.tables import InstanceRow, StudyRow, UploadRow
from med3d_service.studies.uploads.receiving import ReceivedInstance


def is_damaged(study: StudyRow) -> bool:
    """Say whether the courier found originals of the study damaged or gone."""
    return study.refusal is not None and study.refusal["code"] == ORIGINAL_DAMAGED


def replace_originals(
    session: Session, study: StudyRow, upload: UploadRow, instances: Sequence[ReceivedInstance]
) -> None:
    """Let the study's instances lie in ``upload``, and have its working copy made from there.

    The sweep removes the old containers, unless something else refers to them.
    """
    before = session.scalars(select(InstanceRow.upload_id).where(InstanceRow.study_id == study.id).distinct()).all()
    upload.study_id = study.id
    session.add(upload)
    session.flush()
    for instance in instances:
        session.execute(
            update(InstanceRow)
            .where(InstanceRow.study_id == study.id, InstanceRow.digest == instance.digest)
            .values(upload_id=upload.id, offset_bytes=instance.offset_bytes, size_bytes=instance.size_bytes)
            .execution_options(synchronize_session=False)
        )
    session.execute(
        delete(UploadRow)
        .where(
            UploadRow.id.in_(before),
            ~exists().where(InstanceRow.upload_id == UploadRow.id),
            ~exists().where(ArrivedInstanceRow.upload_id == UploadRow.id),
        )
        .execution_options(synchronize_session=False)
    )
    look_again(session, study)
