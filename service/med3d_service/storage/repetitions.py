"""The first answers, by caller and key: claimed before the work, kept after it, forgotten after a day."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, or_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_service.problems import ServiceError
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.repetition_tables import RepetitionRow

KEPT_S = 86400.0
UNDER_WAY_S = 900.0
"""A first request that has not ended after so long was lost with its process; the next one takes its place."""


@dataclass(frozen=True)
class Answer:
    """What the first request was answered, and the digest of what it had asked."""

    request_sha256: str
    status: int
    content_type: str
    location: str | None
    body: str


def claim(database: Database, key_sha256: str) -> Answer | None:
    """Return the first answer; None where this request is the first, which then has the key.

    Raises ServiceError("request_under_way").
    """
    try:
        with database.write() as session:
            now = now_of(session)
            lost = RepetitionRow.status.is_(None) & (RepetitionRow.began_at < now - UNDER_WAY_S)
            session.execute(delete(RepetitionRow).where(or_(RepetitionRow.began_at < now - KEPT_S, lost)))
            found = session.get(RepetitionRow, key_sha256)
            if found is None:
                session.add(RepetitionRow(key_sha256=key_sha256, began_at=now))
                return None
    except IntegrityError as error:  # the same request came twice at once
        raise ServiceError("request_under_way") from error
    if found.status is None or found.request_sha256 is None:
        raise ServiceError("request_under_way")
    return Answer(found.request_sha256, found.status, found.content_type or "", found.location, found.body or "")


def keep(database: Database, key_sha256: str, answer: Answer) -> None:
    """Keep the first answer."""
    with database.write() as session:
        row = session.get(RepetitionRow, key_sha256)
        if row is not None:
            for name, value in vars(answer).items():
                setattr(row, name, value)


def give_back(database: Database, key_sha256: str) -> None:
    """Let the key stand for nothing: the request changed nothing, and may be sent again."""
    with database.write() as session:
        session.execute(delete(RepetitionRow).where(RepetitionRow.key_sha256 == key_sha256))


def forget(session: Session, ids: Collection[str]) -> None:
    """Drop answers that name any of ``ids``: what was erased is not to be answered from here."""
    session.execute(delete(RepetitionRow).where(or_(*(RepetitionRow.body.contains(one) for one in ids))))
