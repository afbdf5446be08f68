"""Delivering to one destination, whatever protocol it speaks."""

import threading
from collections.abc import Callable, Mapping

import structlog

from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.commitment import transaction_uid
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.dimse import DimseSender
from med3d_service.results.delivery.fhir import FhirSender
from med3d_service.results.delivery.mllp import MllpSender
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.receivers import FhirServer, MllpReceiver, Webhook
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError, Sender
from med3d_service.results.delivery.stow import StowSender
from med3d_service.results.delivery.webhook import WebhookSender
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.kept import ReportDamagedError
from med3d_service.results.reports.library import ReportInWorkError, ReportUnavailableError
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.tables import DeliveryRow
from med3d_service.trust.audit import Action, AuditEvent, AuditTrail
from med3d_service.trust.audit.events import process

log = structlog.get_logger()


def sender_to(destination: Destination) -> Sender:
    """Return the way to a destination."""
    match destination.peer:
        case Webhook():
            return WebhookSender(destination.peer)
        case FhirServer():
            return FhirSender(destination.peer)
        case MllpReceiver():
            return MllpSender(destination.peer)
        case DicomwebPeer():
            return StowSender(destination.peer)
        case _:
            return DimseSender(destination.peer, commitment=destination.commitment)


def _sent(taken: DeliveryRow, action: Action = Action.SEND) -> AuditEvent:
    detail: dict[str, str | int] = {"kind": taken.kind, "destination": taken.destination}
    return AuditEvent(process("deliverer"), action, object_kind="run", object_id=taken.run_id, detail=detail)


class DestinationLoop:
    """Delivers to one destination, one object after the other."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        trail: AuditTrail,
        destination: Destination,
        contents: Callable[[str, Kind], bytes],
        *,
        sender: Sender | None = None,
        recall: Callable[[str, Kind], int] | None = None,
    ) -> None:
        self._database = database
        self._trail = trail
        self._destination = destination.name
        self._contents = contents
        self._commitment_s = settings.delivery_commitment_s if destination.commitment else None
        self._patience = Patience.of(settings)
        self._poll_s = settings.deliverer_poll_s
        self._sender = sender or sender_to(destination)
        self._recall = recall

    def run(self, stopped: threading.Event) -> None:
        """Deliver until ``stopped``."""
        while not stopped.is_set():
            try:
                worked = self.deliver_next()
            except Exception:  # the edge: a database that is away comes back
                log.exception("delivering_failed", destination=self._destination)
                worked = False
            if not worked:
                stopped.wait(self._poll_s)
        self._sender.close()

    def deliver_next(self) -> bool:
        """Try the delivery that is due longest; whether there was one."""
        with self._database.read() as session:
            if not outbox.is_due(session, self._destination):
                return False
        with self._database.write() as session:
            taken = outbox.claim(session, self._destination, self._patience)
            hindrance = None if taken is None else outbox.hindrance(session, taken.run_id, Kind(taken.kind))
        if taken is None:
            return False
        if hindrance is None:
            self._try(taken)
        elif hindrance == outbox.WITHDRAWN and self._may_hold(taken):
            self._take_back(taken)
        else:
            self._hold(taken, hindrance)
        return True

    def _may_hold(self, taken: DeliveryRow) -> bool:
        """Tell whether the destination may hold it, and lets us take it back: who did not answer may have stored it."""
        return self._recall is not None and (taken.fault == outbox.WITHDRAWN or taken.tries > 1)

    def _content(self, taken: DeliveryRow) -> bytes:
        try:
            return self._contents(taken.run_id, Kind(taken.kind))
        except (ReportDamagedError, ReportInWorkError) as error:  # until it is brought back, or made
            raise NotDeliveredError(error.code) from error

    def _hold(self, taken: DeliveryRow, hindrance: str) -> None:
        """Send nothing of a patient who was, or is being, corrected, and no answer in the place of a newer one."""
        with self._database.write() as session:
            if hindrance in outbox.FOR_GOOD:
                outbox.dead(session, taken, hindrance)
            else:
                outbox.postponed(session, taken, hindrance, self._patience)
        log.info("delivery_held", fault=hindrance, delivery_id=taken.id, run_id=taken.run_id, kind=taken.kind)

    def _take_back(self, taken: DeliveryRow) -> None:
        """Remove what the destination got before we heard that the patient is another one."""
        assert self._recall is not None
        said: Mapping[str, object] = {"delivery_id": taken.id, "run_id": taken.run_id, "kind": taken.kind}
        try:
            removed = self._recall(taken.run_id, Kind(taken.kind))
        except (NotDeliveredError, ReportDamagedError) as error:
            log.warning("not_taken_back", fault=error.code, **said)
            with self._database.write() as session:
                outbox.postponed(session, taken, taken.fault or error.code, self._patience)
            return
        if not removed and taken.fault not in {outbox.WITHDRAWN, outbox.LOOKED_ONCE}:
            with self._database.write() as session:
                outbox.postponed(session, taken, outbox.LOOKED_ONCE, self._patience, outbox.LOOK_AGAIN_S)
            log.info("not_found_yet", **said)
            return
        with self._database.write() as session:
            outbox.taken_back(session, taken)
            if removed:
                self._trail.append(session, _sent(taken, Action.ERASE))
        log.info("taken_back", instances=removed, **said)

    def _try(self, taken: DeliveryRow) -> None:
        said: Mapping[str, object] = {"delivery_id": taken.id, "run_id": taken.run_id, "kind": taken.kind}
        try:
            content = self._content(taken)
            asked = transaction_uid(taken.id, taken.tries)
            self._sender.send(Outgoing(Kind(taken.kind), taken.object_uid, content, asked))
        except (RefusedByPeerError, ReportUnavailableError) as error:
            with self._database.write() as session:
                outbox.dead(session, taken, error.code)
            log.warning("delivery_dead", fault=error.code, tries=taken.tries, **said)
        except Exception as error:
            # The edge: whatever it was, of the peer or of ours, the delivery stays and is seen.
            known = isinstance(error, NotDeliveredError)
            fault = error.code if isinstance(error, NotDeliveredError) else f"internal:{type(error).__name__}"
            pause_s = error.not_before_s if isinstance(error, NotDeliveredError) else 0.0
            with self._database.write() as session:
                status = outbox.postponed(session, taken, fault, self._patience, pause_s)
            log.warning("delivery_failed", fault=fault, tries=taken.tries, status=status, exc_info=not known, **said)
        else:
            with self._database.write() as session:
                if self._recall is not None and outbox.was_withdrawn(session, taken):
                    outbox.postponed(session, taken, outbox.WITHDRAWN, self._patience)
                elif self._commitment_s is None:
                    outbox.delivered(session, taken)
                else:
                    outbox.stored(session, taken, self._commitment_s)
                self._trail.append(session, _sent(taken))
            word = "delivered" if self._commitment_s is None else "stored"
            log.info(word, destination=self._destination, tries=taken.tries, **said)
