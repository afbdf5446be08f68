"""A study at fault that its PACS has sent again: what of it stands, now that it was corrected.

A correction is all of one patient's instances, sent after the study was answered with its fault: then what was not sent
again is not of this study any more (another patient's images under its UID, pixels that were wrong). A single instance
that comes late proves nothing. Before the study was looked at, what replaced one another as it came may agree already.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from med3d_contract.results import Refusal
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import now_of
from med3d_service.storage.tables import StudyRow
from med3d_service.studies.arrivals.journal import SEVERAL_PATIENTS
from med3d_service.studies.correcting import patients_of_instances
from med3d_service.studies.counting import in_words

log = structlog.get_logger()
REFUSALS = {
    "inconsistent_study": "Two instances have one SOP Instance UID but different pixels. Find out at the PACS which of "
    "them is right, and send all of the study again.",
    "several_patients": "The images of this study name {patients} patients under one Study Instance UID. Correct the "
    "study at the PACS, and send all of it again: it then takes the place of this one.",
}


def judge(session: Session, arrival: ArrivalRow) -> bool:
    """Note what is at fault, or not any more; whether the patient was corrected, and is one."""
    if arrival.corrected_at is not None and arrival.fault is None:
        arrival.fault = _fault_of_correction(session, arrival)
    if arrival.fault is not None and not _repair(session, arrival):
        arrival.repair_from = now_of(session)
        return False
    corrected, arrival.corrected_at = arrival.corrected_at is not None, None
    return corrected


def refusal_of(session: Session, arrival: ArrivalRow) -> Refusal | None:
    """Say what is at fault with an arrival, as its study's refusal."""
    if arrival.fault is None:
        return None
    counted = select(func.count(distinct(ArrivedInstanceRow.patient_index)))
    patients = session.execute(counted.where(ArrivedInstanceRow.arrival_id == arrival.id)).scalar_one()
    return Refusal(code=arrival.fault, reason=REFUSALS[arrival.fault].format(patients=in_words(patients)))


def is_at_fault(study: StudyRow) -> bool:
    """Tell whether a study was refused for what was at fault as it arrived."""
    return study.refusal is not None and study.refusal["code"] in REFUSALS


def _fault_of_correction(session: Session, arrival: ArrivalRow) -> str | None:
    """Say whether a correction left several patients; else the one whom it names is the arrival's."""
    patients = patients_of_instances(session, arrival)
    if len(patients) > 1:
        return SEVERAL_PATIENTS
    arrival.patient_index = next(iter(patients), None)
    return None


def _repair(session: Session, arrival: ArrivalRow) -> bool:
    """Take the fault from an arrival that was sent again as corrected, and what is not of it any more."""
    rows = session.scalars(select(ArrivedInstanceRow).where(ArrivedInstanceRow.arrival_id == arrival.id)).all()
    standing = standing_after_repair(rows, arrival.repair_from or 0.0)
    if standing is None:
        return False
    kept = {row.digest for row in standing}
    for row in rows:
        if row.digest not in kept:
            session.delete(row)
    session.flush()
    arrival.fault = arrival.repair_from = None
    arrival.instances = len(standing)
    arrival.patient_index = next((row.patient_index for row in standing if row.patient_index), None)
    log.info("arrival_repaired", arrival_id=arrival.id, instances=len(standing))
    return True


def standing_after_repair(rows: Sequence[ArrivedInstanceRow], since: float) -> list[ArrivedInstanceRow] | None:
    """Return the instances of which the study consists since it was corrected; None where it was not.

    rows: all that is known of the study. since: when it was last found to be at fault (0: never looked at).
    """
    sent = [row for row in rows if (row.seen_at or row.arrived_at) > since]
    patients = {row.patient_index for row in sent} - {None}
    sop_indices = {row.sop_index for row in sent}
    if not _disagree(rows):
        return list(rows)  # what was at fault has been replaced, one by one perhaps
    if not sent or len(patients) > 1 or len(sop_indices) < len(sent):
        return None
    of_the_patient = {row.sop_index for row in rows if row.patient_index in patients | {None}}
    return sent if of_the_patient <= sop_indices else None


def _disagree(rows: Sequence[ArrivedInstanceRow]) -> bool:
    """Tell whether there are two patients, or two instances of one UID."""
    patients = {row.patient_index for row in rows} - {None}
    return len(patients) > 1 or len({row.sop_index for row in rows}) < len(rows)
