"""What every process of the service opens; each puts the parts that it needs on top of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from med3d_service.network.pulls.underway import is_being_pulled
from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys, load_keys
from med3d_service.storage.opening import guard_for, open_database
from med3d_service.storage.store_identity import open_store
from med3d_service.studies.arrivals.arrivals import Arrivals
from med3d_service.studies.arrivals.routing import RoutingRules, load_rules
from med3d_service.studies.arrivals.settling import Settling
from med3d_service.trust.audit import AuditTrail
from med3d_service.trust.audit.alerts import record_alert
from med3d_store.object_store import ObjectStore


@dataclass(frozen=True)
class Essentials:
    """Keys, database and store, and what seals and records what is in them."""

    settings: Settings
    keys: SiteKeys
    database: Database
    store: ObjectStore
    vault: IdentifierVault
    trail: AuditTrail

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open what the settings name; nothing is connected to yet."""
        keys = load_keys(settings)
        guard = guard_for(settings, keys)
        database = open_database(settings, keys, guard)
        trail = AuditTrail(database, keys.audit, keys.older_audit)
        guard.forged = lambda kind, row_id: record_alert(trail, "guard", "row_forged", kind, row_id)
        settings.spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            settings=settings,
            keys=keys,
            database=database,
            store=open_store(settings, database),
            vault=IdentifierVault(keys),
            trail=trail,
        )

    def settling(self) -> Settling:
        """Make what puts arrivals together; those that are still pulled wait."""
        return Settling(self.settings, self.database, self.vault, self.trail, is_being_pulled())

    def arrivals(self, rules_of_titles: Mapping[str, RoutingRules] = MappingProxyType({})) -> Arrivals:
        """Open the way in for single instances, with the rules of the settings, and those of our AE titles."""
        rules, settling = load_rules(self.settings.rules_file), self.settling()
        where = self.database, self.store, self.vault
        return Arrivals(self.settings, self.keys.originals, *where, rules, settling, rules_of_titles)

    def close(self) -> None:
        """Close what was opened."""
        self.database.close()
