"""Whether the data is in good hands: room on the disk, what the ledger found last, when a backup was last begun."""

import shutil
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from med3d_service.custody.ledger.tables import latest_check
from med3d_service.settings import Settings
from med3d_service.storage.database import now_of
from med3d_service.trust.audit.events import Action
from med3d_service.trust.audit.tables import AuditRow


@dataclass(frozen=True)
class Safekeeping:
    """The state of what is kept.

    free_bytes: of the disk that takes uploads; it takes none below reserve_bytes. checked_s, backup_s: since the ledger
    was checked, and since a backup was begun; None for never. discrepancies: what that check found.
    """

    free_bytes: int
    reserve_bytes: int
    checked_s: float | None
    discrepancies: int
    backup_s: float | None

    @property
    def is_full(self) -> bool:
        """Whether images are turned away."""
        return self.free_bytes < self.reserve_bytes


def read_safekeeping(session: Session, settings: Settings) -> Safekeeping:
    """Look at disk, ledger and backups."""
    now = now_of(session)
    checked = latest_check(session)
    begun = session.scalar(
        select(func.max(AuditRow.at)).where(AuditRow.object_kind == "database", AuditRow.action == Action.BACKUP)
    )
    return Safekeeping(
        free_bytes=shutil.disk_usage(settings.spool_dir).free,
        reserve_bytes=settings.reserve_bytes,
        checked_s=None if checked is None else max(0.0, now - checked.checked_at),
        discrepancies=0 if checked is None else sum(checked.findings.values()),
        backup_s=None if begun is None else max(0.0, now - begun),
    )
