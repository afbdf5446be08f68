"""The daily digest of what was refused: counts by site and code, and nothing that tells of a patient."""

import json
import smtplib
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from fnmatch import fnmatchcase

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_service.results.delivery.digest_tables import DigestTable, Mail
from med3d_service.results.delivery.receivers import Webhook
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing
from med3d_service.results.delivery.webhook import WebhookSender
from med3d_service.results.kinds import EVENTS, Kind
from med3d_service.results.reports.lineage import ANSWERED
from med3d_service.storage.counters import advance_counter, read_counter
from med3d_service.storage.database import Database
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.audit import Action, AuditEvent, AuditTrail
from med3d_service.trust.audit.events import process

log = structlog.get_logger()
TOLD, TRIED = "digest_told", "digest_tried"
PAUSE_S = 900
"""Between two tries; a digest that could not be sent all day is given up for the next one."""


@dataclass(frozen=True)
class Digest:
    """What was answered in a day, by site; ``refused``: how often by site and code."""

    begin: datetime
    end: datetime
    answered: Mapping[str, int]
    refused: Mapping[tuple[str, str], int]

    def event(self, event_id: str) -> bytes:
        """Write it for a webhook."""
        refused = [{"site": site, "code": code, "count": count} for (site, code), count in sorted(self.refused.items())]
        told = {
            "event_id": event_id,
            "type": "digest.refusals",
            "from": self.begin.isoformat(),
            "to": self.end.isoformat(),
            "answered": dict(sorted(self.answered.items())),
            "refused": refused,
        }
        return json.dumps(told, separators=(",", ":")).encode()

    def text(self) -> str:
        """Write it for people."""
        lines = [
            f"{self.begin:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}",
            f"answered: {sum(self.answered.values())}, of them refused: {sum(self.refused.values())}",
            "",
            *(f"{count:6}  {site}  {code}" for (site, code), count in sorted(self.refused.items())),
        ]
        return "\n".join(lines).rstrip() + "\n"


def read_digest(session: Session, table: DigestTable, end: datetime) -> Digest:
    """Count what was answered in the day before ``end``."""
    begin = end - timedelta(days=1)
    query = (
        select(RunRow.status, RunRow.refusal, StudyRow.site)
        .join(StudyRow, StudyRow.id == RunRow.study_id)
        .where(
            RunRow.status.in_(ANSWERED),
            RunRow.finished_at >= begin.timestamp(),
            RunRow.finished_at < end.timestamp(),
        )
    )
    answered: Counter[str] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for status, refusal, site in session.execute(query):
        if table.sites and not any(fnmatchcase(site, pattern) for pattern in table.sites):
            continue
        answered[site] += 1
        if status == RunStatus.REFUSED:
            refused[site, str((refusal or {}).get("code", ""))] += 1
    return Digest(begin, end, answered, refused)


class Digests:
    """Sends each digest once a day; which days were told is kept in the database, for all deliverers."""

    def __init__(
        self,
        database: Database,
        trail: AuditTrail,
        tables: Mapping[str, tuple[DigestTable, Webhook | None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._trail, self._tables, self._clock = database, trail, tables, clock
        self._told: dict[str, int] = {}

    def send_due(self) -> list[str]:
        """Send what is due; the names of the digests that were sent."""
        sent = []
        for name, (table, webhook) in self._tables.items():
            end = self._last_end(table)
            day = end.toordinal()
            if self._told.get(name) != day and self._claimed(name, day):
                with self._database.read() as session:
                    digest = read_digest(session, table, end)
                if self._sent(name, table, webhook, digest):
                    self._note(name, day)
                    sent.append(name)
        return sent

    def _last_end(self, table: DigestTable) -> datetime:
        now = datetime.fromtimestamp(self._clock()).astimezone()
        end = now.replace(hour=table.hour, minute=0, second=0, microsecond=0)
        return end if end <= now else end - timedelta(days=1)

    def _claimed(self, name: str, day: int) -> bool:
        """Tell whether the day is to be told by this process now: nobody has, or has tried a moment ago."""
        now = int(self._clock())
        with self._database.write() as session:
            known = read_counter(session, TOLD, name)
            if known is None:  # a digest that was just configured does not tell the past
                advance_counter(session, TOLD, name, day)
                known = day
            if known >= day:
                self._told[name] = day
                return False
            return advance_counter(session, TRIED, name, now, least_step=PAUSE_S)

    def _note(self, name: str, day: int) -> None:
        event = AuditEvent(process("deliverer"), Action.SEND, object_kind="digest", object_id=name)
        with self._database.write() as session:
            advance_counter(session, TOLD, name, day)
            self._trail.append(session, event)
        self._told[name] = day
        log.info("digest_sent", digest=name)

    def _sent(self, name: str, table: DigestTable, webhook: Webhook | None, digest: Digest) -> bool:
        try:
            if table.mail is not None:
                send_mail(table.mail, digest)
            elif webhook is not None:
                _post(webhook, name, digest)
        except (NotDeliveredError, OSError, smtplib.SMTPException) as error:
            log.warning("digest_not_sent", digest=name, kind=type(error).__name__)
            return False
        return True


def _post(webhook: Webhook, name: str, digest: Digest) -> None:
    event_id = str(uuid.uuid5(EVENTS, f"digest/{name}/{digest.end.toordinal()}"))
    sender = WebhookSender(webhook)
    try:
        sender.send(Outgoing(Kind.EVENT, event_id, digest.event(event_id)))
    finally:
        sender.close()


def send_mail(mail: Mail, digest: Digest) -> None:
    """Hand the digest to the mail server. Raises OSError, smtplib.SMTPException."""
    message = EmailMessage()
    message["Subject"] = f"Brain age analysis: {sum(digest.refused.values())} refused"
    message["From"], message["To"] = mail.sender, ", ".join(mail.to)
    message.set_content(digest.text())
    with smtplib.SMTP(mail.host, mail.port, timeout=mail.timeout_s) as server:
        if mail.starttls:
            server.starttls(context=ssl.create_default_context() if mail.tls is None else mail.tls.context())
        if mail.user is not None and mail.password is not None:
            server.login(mail.user, mail.password.get_secret_value())
        server.send_message(message)
