"""Instances that arrive one by one, without a process: the parts of the service on a folder."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_service.network.pulls.underway import is_being_pulled
from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import open_database
from med3d_service.studies.arrivals.arrivals import Arrivals, Source
from med3d_service.studies.arrivals.routing import EVERY_MR, RoutingRules
from med3d_service.studies.arrivals.settling import Settling
from med3d_service.trust.audit import AuditTrail
from med3d_store.object_store import ObjectStore
from rig.dicom.series import head_like, ras_affine, slice_datasets
from rig.service.parts import MemoryBroker, migrated
from rig.service.work import BUNDLE

SOURCE = Source("dimse", "default", "SCANNER")


def saved(dataset: Dataset) -> bytes:
    """A data set as a file."""
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def slices(count: int = 4, series: str = "series", side: int = 8, **header: Any) -> list[Dataset]:
    """Data sets of one small series; every one of them can be changed before it is saved."""
    header = {"PatientID": "P-1", "StudyInstanceUID": "1.2.3"} | header
    return slice_datasets(head_like((side, side, count)), ras_affine(), series=series, **header)


@dataclass
class Intake:
    """Arrivals on a database and a store of their own."""

    folder: Path
    settings_given: dict[str, Any] = field(default_factory=dict)
    rules: RoutingRules = EVERY_MR
    rules_of_titles: dict[str, RoutingRules] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = migrated(self.folder, **self.settings_given)
        self.database = open_database(self.settings)
        self.store = ObjectStore.make(self.settings.store)
        self.keys = load_keys(self.settings)
        self.vault = IdentifierVault(self.keys)
        self.trail = AuditTrail(self.database, self.keys.audit)
        self.settling = Settling(self.settings, self.database, self.vault, self.trail, is_being_pulled())
        where = self.database, self.store, self.vault
        rules = self.rules, self.settling, self.rules_of_titles
        self.arrivals = Arrivals(self.settings, self.keys.originals, *where, *rules)
        self.broker = MemoryBroker()
        with self.database.write() as session:
            register_bundles(session, [BUNDLE])

    def take(self, *datasets: Dataset | bytes, source: Source = SOURCE) -> list[str]:
        """The outcomes, as words."""
        return [
            str(self.arrivals.receive_instance(saved(one) if isinstance(one, Dataset) else one, source).outcome)
            for one in datasets
        ]

    def row(self, study_uid: str = "1.2.3") -> ArrivalRow | None:
        return self.arrivals.status("default", study_uid)

    def row_of_arrival(self, session: Session) -> ArrivalRow:
        """The one arrival that there is, to be changed."""
        return session.scalars(select(ArrivalRow)).one()

    def originals(self) -> int:
        """How many instances are kept; files that were made ahead of time are empty."""
        return sum(stored.size_bytes > 0 for stored in self.store.list("originals"))

    def spooled(self) -> list[Path]:
        return list(self.settings.spool_dir.iterdir())
