"""Storage commitment (PS3.4 annex J): what a peer says of the objects that it was asked to keep.

The request goes out with the object (delivery.dimse); the report comes as an N-EVENT-REPORT on an association that the
peer opens, so the listener takes it. A transaction's UID follows from delivery and try: nothing is remembered for it.
"""

from collections.abc import Iterable

import structlog
from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.states import DeliveryStatus
from med3d_service.storage.database import Database
from med3d_service.storage.tables import DeliveryRow
from med3d_service.studies.own_objects import own_uid

log = structlog.get_logger()
SUCCESS, NO_SUCH_EVENT_TYPE, NO_SUCH_OBJECT, INVALID = 0x0000, 0x0113, 0x0112, 0x0115
COMMITTED, SOME_FAILED = 1, 2  # PS3.4 J.3.3, event type ID


def transaction_uid(delivery_id: str, tries: int) -> str:
    """Return the name of the request that the ``tries``-th sending of a delivery makes."""
    return own_uid(delivery_id, "commitment", str(tries))


class Commitments:
    """Settles deliveries by what the peers report. Reports count only from the AE title that was asked."""

    def __init__(self, database: Database, destinations: Iterable[Destination], patience: Patience) -> None:
        self._database = database
        self._patience = patience
        self._asked = {
            one.name: one.peer.ae_title for one in destinations if one.commitment and isinstance(one.peer, DimsePeer)
        }

    def report(self, calling_ae_title: str, event_type: int, report: Dataset) -> int:
        """Settle every delivery that the report names.

        Returns the DIMSE status (PS3.7 C): success too where nothing was settled any more, for a report that comes
        twice is no fault; no such object where the transaction is not one of ours with this peer.
        """
        if event_type not in {COMMITTED, SOME_FAILED}:
            return NO_SUCH_EVENT_TYPE
        names = [name for name, ae_title in self._asked.items() if ae_title == calling_ae_title]
        kept, failed = (_uids(report, word) for word in ("ReferencedSOPSequence", "FailedSOPSequence"))
        transaction = str(report.get("TransactionUID", ""))
        if not transaction or not kept | failed:
            return INVALID
        with self._database.write() as session:
            rows = session.scalars(
                select(DeliveryRow)
                .where(DeliveryRow.destination.in_(names), DeliveryRow.object_uid.in_(kept | failed))
                .with_for_update()
            ).all()
            ours = [row for row in rows if _asked_for(row, transaction)]
            for row in ours:
                self._settle(session, row, committed=row.object_uid not in failed)
        if not ours:
            log.warning("commitment_unknown", objects=len(kept | failed))
            return NO_SUCH_OBJECT
        return SUCCESS

    def _settle(self, session: Session, row: DeliveryRow, *, committed: bool) -> None:
        if row.status not in {DeliveryStatus.SENDING, DeliveryStatus.STORED}:
            return
        if committed:
            outbox.delivered(session, row)
        else:
            outbox.postponed(session, row, "peer_failed:not_committed", self._patience)
        log.info("commitment", delivery_id=row.id, run_id=row.run_id, committed=committed)


def _asked_for(row: DeliveryRow, transaction: str) -> bool:
    """Tell whether one of the delivery's tries made the request: the report on an earlier one may come late."""
    return any(transaction == transaction_uid(row.id, number) for number in range(row.tries, 0, -1))


def _uids(report: Dataset, sequence: str) -> set[str]:
    return {str(item.get("ReferencedSOPInstanceUID", "")) for item in report.get(sequence) or ()} - {""}
