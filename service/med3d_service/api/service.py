"""What the API is made of; processes.api puts it together."""

from dataclasses import dataclass

from med3d_service.network.peers import Peers
from med3d_service.network.pulls.hooks import Hooks
from med3d_service.network.pulls.line import PullLine
from med3d_service.runs.endings import Leases
from med3d_service.runs.queueing.dispatch import CeleryBroker
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.studies.arrivals.arrivals import Arrivals
from med3d_service.studies.uploads.recording import StudyRecorder
from med3d_service.trust.audit import AuditTrail
from med3d_store.object_store import ObjectStore


@dataclass(frozen=True)
class Service:
    """The parts that routes use."""

    settings: Settings
    keys: SiteKeys
    database: Database
    store: ObjectStore
    broker: CeleryBroker
    vault: IdentifierVault
    recorder: StudyRecorder
    arrivals: Arrivals
    leases: Leases
    peers: Peers
    pulls: PullLine
    hooks: Hooks
    audit: AuditTrail

    def close(self) -> None:
        """Close what was opened."""
        self.arrivals.close()
        self.broker.close()
        self.database.close()
