"""Calls of an Orthanc's hook, "this study is stable": only the peer can make one, and nobody can make it again."""

import hashlib
import hmac
import secrets
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, ValidationError
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_contract.results import Frozen
from med3d_service.network.peers import Peers
from med3d_service.network.pulls.line import AT_ONCE, Origin, PullLine
from med3d_service.network.pulls.tables import HookCallRow
from med3d_service.network.pulls.wanted import Uid, Wanted
from med3d_service.problems import ServiceError
from med3d_service.storage.database import Database, now_of

Nonce = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{16,128}$")]


class StableStudy(Frozen):
    """The body of the call. ``last_update`` is Orthanc's own time of the study's newest instance."""

    study_uid: Uid
    last_update: Annotated[str, StringConstraints(pattern=r"^[0-9T]{1,32}$")]
    timestamp: Annotated[float, Field(ge=0, le=1e12, description="seconds since 1970 (UTC)")]
    nonce: Nonce


def signature(secret: SecretStr, body: bytes) -> str:
    """Return the HMAC-SHA256 of the body under the peer's hook secret, lower-case hex (RFC 2104)."""
    return hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()


class Hooks:
    """Judges calls, and puts the study of a good one into the line."""

    def __init__(self, database: Database, peers: Peers, line: PullLine, *, site: str, age_s: float) -> None:
        self._database = database
        self._peers = peers
        self._line = line
        self._site = site
        self._age_s = age_s

    def accept(self, peer: str, signed: str, body: bytes) -> tuple[str, bool]:
        """Take a call; returns the pull's id and whether it was there before.

        Raises ServiceError: hook_not_signed, hook_stale, hook_replayed; invalid_request for a signed call that is none.
        """
        configured = self._peers.orthancs.get(peer)
        known = configured is not None and configured.orthanc is not None
        secret = configured.orthanc.hook_secret if known else SecretStr(secrets.token_hex())  # type: ignore[union-attr]
        if not hmac.compare_digest(signature(secret, body).encode(), signed.lower().encode()) or not known:
            raise ServiceError("hook_not_signed")
        try:
            call = StableStudy.model_validate_json(body)
        except ValidationError as error:
            raise ServiceError("invalid_request") from error
        with self._database.write() as session:
            self._spend(session, peer, call)
            assert configured is not None
            origin = Origin(site=configured.own_site(self._site), kind="hook", source="dicomweb", peer=peer)
            wanted = Wanted(study_uid=call.study_uid)
            occasion = occasion_of(call.study_uid, call.last_update)
            pull, was_known = self._line.ask(session, origin, wanted, urgency=AT_ONCE, occasion=occasion)
            return pull.id, was_known

    def _spend(self, session: Session, peer: str, call: StableStudy) -> None:
        """Let the call's nonce be good for this one time, in the transaction that heeds it."""
        now = now_of(session)
        if abs(now - call.timestamp) > self._age_s:
            raise ServiceError("hook_stale")
        session.execute(delete(HookCallRow).where(HookCallRow.called_at < now - 2 * self._age_s))
        nonce = hashlib.sha256(f"{peer}\0{call.nonce}".encode()).hexdigest()
        try:
            with session.begin_nested():
                session.add(HookCallRow(nonce=nonce, called_at=now))
        except IntegrityError as error:
            raise ServiceError("hook_replayed") from error


def occasion_of(study_uid: str, last_update: str) -> str:
    """Name a state of a study at a peer: the hook and the log of changes tell of it alike."""
    return f"{study_uid}\0{last_update}"
