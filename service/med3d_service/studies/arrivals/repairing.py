"""A study at fault that its PACS has sent again: what of it stands, now that it was corrected.

A correction is all of one patient's instances, sent after the study was answered with its fault: then what was not sent
again is not of this study any more (another patient's images under its UID, pixels that were wrong). A single instance
that comes late proves nothing. Before the study was looked at, what replaced one another as it came may agree already.
"""

from collections.abc import Sequence

from med3d_service.storage.arrival_tables import ArrivedInstanceRow


def standing_after_repair(rows: Sequence[ArrivedInstanceRow], since: float) -> list[ArrivedInstanceRow] | None:
    """The instances of which the study consists since it was corrected; None where it was not.

    rows: all that is known of the study. since: when it was last found to be at fault (0: never looked at).
    """
    sent = [row for row in rows if (row.seen_at or row.arrived_at) > since]
    patients = {row.patient_index for row in sent} - {None}
    sop_indices = {row.sop_index for row in sent}
    if not sent or len(patients) > 1 or len(sop_indices) < len(sent):
        return None
    of_the_patient = {row.sop_index for row in rows if row.patient_index in patients | {None}}
    return sent if of_the_patient <= sop_indices else None
