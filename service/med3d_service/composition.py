"""What the processes of the service are made of, put together once per process."""

from dataclasses import dataclass

from med3d_service.audit import AuditTrail
from med3d_service.database import Database
from med3d_service.dispatch import CeleryBroker
from med3d_service.identifiers import IdentifierVault
from med3d_service.intake.arrivals import Arrivals
from med3d_service.intake.recording import StudyRecorder
from med3d_service.intake.routing import load_rules
from med3d_service.keys import SiteKeys, load_keys
from med3d_service.peers import Peers, load_peers
from med3d_service.pulls.hooks import Hooks
from med3d_service.pulls.line import PullLine
from med3d_service.runs.endings import Leases
from med3d_service.settings import Settings
from med3d_store.object_store import ObjectStore


@dataclass(frozen=True)
class Service:
    """The parts that routes and loops use."""

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

    @classmethod
    def compose(cls, settings: Settings) -> "Service":
        """Open database, store and broker as the settings say; nothing is connected to yet."""
        keys = load_keys(settings)
        peers = load_peers(settings.peers_file)
        database = Database(settings.database)
        store = ObjectStore.open(settings.store)
        vault = IdentifierVault(keys)
        pulls = PullLine(database, vault, settings)
        trail = AuditTrail(database, keys.audit)
        rules = load_rules(settings.rules_file)
        settings.spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            settings=settings,
            keys=keys,
            database=database,
            store=store,
            broker=CeleryBroker(settings.broker_url.get_secret_value()),
            vault=vault,
            recorder=StudyRecorder(database, store, vault),
            arrivals=Arrivals(settings, keys.originals, database, store, vault, rules, trail),
            leases=Leases(lease_s=settings.lease_s, max_tries=settings.max_tries),
            peers=peers,
            pulls=pulls,
            hooks=Hooks(database, peers, pulls, site=settings.site, age_s=settings.hook_age_s),
            audit=trail,
        )

    def close(self) -> None:
        """Close what was opened."""
        self.arrivals.close()
        self.broker.close()
        self.database.close()
