"""Each entry goes to the syslog receiver of the settings, in order, and again from where it was broken off."""

import socket
import threading

import structlog

from med3d_service.settings import Settings
from med3d_service.storage.database import Database
from med3d_service.trust.audit.atna import audit_message
from med3d_service.trust.audit.syslog import SyslogReceiver, frame
from med3d_service.trust.audit.tables import AuditRow
from med3d_service.trust.audit.trail import AuditTrail, entries

log = structlog.get_logger()
AT_ONCE = 200
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


def forward(database: Database, settings: Settings, trail: AuditTrail) -> int:
    """Send what has not been sent, at most AT_ONCE entries; how many. Raises OSError where the receiver is away."""
    assert settings.audit_syslog_url is not None
    with database.read() as session:
        rows = list(entries(session, after=trail.forwarded(session), limit=AT_ONCE))
    if not rows:
        return 0
    with SyslogReceiver(settings.audit_syslog_url, settings.audit_syslog_ca_file) as receiver:
        for row in rows:
            receiver.send(syslog_message(row, settings.site))
    with database.write() as session:
        trail.note_forwarded(session, rows[-1].seq)
    return len(rows)


def syslog_message(row: AuditRow, site: str) -> bytes:
    """Return one entry, ready to be sent."""
    host = socket.gethostname()
    return frame(audit_message(row, source=f"med3d@{host}", site=site), row.at, host)


def keep_forwarding(database: Database, settings: Settings, trail: AuditTrail, stopped: threading.Event) -> None:
    """Forward until ``stopped``; a receiver that is away is asked again after pauses that double."""
    pause_s = FIRST_PAUSE_S
    while not stopped.wait(pause_s):
        try:
            while forward(database, settings, trail) == AT_ONCE and not stopped.is_set():
                pass
            pause_s = FIRST_PAUSE_S
        except Exception as error:  # noqa: BLE001 - the edge of this thread: the receiver comes back
            log.warning("audit_not_forwarded", kind=type(error).__name__)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
