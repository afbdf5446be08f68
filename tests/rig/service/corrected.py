"""Patients who are corrected, and archives that hold what was sent of them, without processes."""

import io
from collections.abc import Callable
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select, update

from med3d_contract.backoff import Backoff
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.deliverer import DestinationLoop
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.receivers import Webhook
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.library import ReportLibrary
from med3d_service.storage.tables import DeliveryRow
from med3d_service.studies.arrivals.arrivals import Source
from med3d_service.studies.own_objects import own_uid
from rig.service.arriving import slices
from rig.service.ward import Ward

WRONG = {"PatientID": "P-1", "PatientName": "Doe^Jane", "PatientBirthDate": "19700102", "AccessionNumber": "A-7"}
RIGHT = {"PatientID": "P-2", "PatientName": "Roe^Rita", "PatientBirthDate": "19610203", "AccessionNumber": "A-7"}
PACS, SCANNER = Source("orthanc", "default", "ward"), Source("dimse", "default", "SCANNER")
SIDE = 64  # JPEG 2000 halves an image five times
PATIENCE = Patience(Backoff(1.0, 8.0), give_up_s=100.0, lease_s=30.0)
HOOK = Webhook.model_validate({"url": "http://127.0.0.1:9/", "secret": {"env": "PATH"}})
PEER = Destination(name="dimse:pacs", kinds=frozenset({Kind.SR}), cohort=False, peer=HOOK)


def study(count: int = 4, series: str = "series", **identity: Any) -> list[Dataset]:
    """Data sets of one series."""
    return slices(count, series, SIDE, **identity)


def modified(count: int = 4, series: str = "series", **identity: Any) -> list[Dataset]:
    """What Orthanc makes of a study that it modifies: the same images under UIDs of their own."""
    made = study(count, series, **identity)
    for one in made:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(one, keyword, f"2.25.7{getattr(one, keyword)[-20:]}")
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    return made


class Peer:
    """Keeps what it is sent, in place of a PACS."""

    def __init__(self) -> None:
        self.objects: list[Dataset] = []

    def send(self, outgoing: Outgoing) -> None:
        self.objects.append(dcmread(io.BytesIO(outgoing.content)))

    def close(self) -> None:
        pass

    def names(self) -> list[str]:
        return [str(one.PatientName) for one in self.objects]


class Archive(Peer):
    """An Orthanc: keeps what it is sent until it is taken back. ``sends`` happens while it takes an object."""

    def __init__(self) -> None:
        super().__init__()
        self.sends: list[Callable[[], object]] = []
        self.asked: list[tuple[str, str]] = []
        self.away = False

    def send(self, outgoing: Outgoing) -> None:
        super().send(outgoing)
        while self.sends:
            self.sends.pop()()

    def take_back(self, run_id: str, kind: Kind) -> int:
        self.asked.append((run_id, str(kind)))
        if self.away:
            raise NotDeliveredError("peer_away:ConnectError")
        mine = [one for one in self.objects if one.SOPInstanceUID == own_uid(run_id, kind)]
        self.objects = [one for one in self.objects if one not in mine]
        return len(mine)


class DeliveringWard(Ward):
    """A ward whose answers go to an Orthanc."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.archive = Archive()
        orthanc = {"rest_url": "http://127.0.0.1:9/", "hook_secret": {"env": "PATH"}}
        peer = DicomwebPeer.model_validate({"url": "http://127.0.0.1:9/", "orthanc": orthanc})
        self.destination = PEER.model_copy(update={"orthanc": peer})
        self.deliverer = DestinationLoop(
            self.settings, self.database, self.trail, self.destination, ReportLibrary(self).content,
            sender=self.archive, recall=self.archive.take_back,
        )  # fmt: skip

    def plan(self) -> None:
        """Plan what was answered."""
        with self.database.write() as session:
            outbox.plan(session, [self.destination], PATIENCE)

    def deliver(self) -> list[str]:
        """Plan and send all that is due, and what waits for its next try; the names that the archive holds then."""
        self.plan()
        self.change_deliveries("waiting", next_try_at=0.0)
        while self.deliverer.deliver_next():
            pass
        return self.archive.names()

    def change_deliveries(self, where: str, /, **values: object) -> None:
        with self.database.write() as session:
            session.execute(update(DeliveryRow).where(DeliveryRow.status == where).values(**values))

    def faults(self) -> list[tuple[str, str | None]]:
        """Status and fault of each delivery, oldest first."""
        with self.database.read() as session:
            return [(row.status, row.fault) for row in session.scalars(select(DeliveryRow).order_by(DeliveryRow.seq))]
