"""The line of pulls: asking, claiming with a lease, and every move of a pull's status, each a compare-and-set.

The moves stand in pulls.states. A search that has found something stays ``fetching`` until the pulls of its finds are
over.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_contract.backoff import Backoff
from med3d_service.network.pulls.states import IN_HAND, OVER, PULL_MOVES, PullStatus
from med3d_service.network.pulls.tables import PullRow
from med3d_service.network.pulls.wanted import Wanted
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, db_now, now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.leases import WorkTable, move_rows

STUDY, SEARCH = "study", "search"
AT_ONCE, ASKED, FOUND = 0, 1, 2
"""Urgencies: a study that has just become stable, one that somebody asked for, one of a search's many."""
PULLS_PER_PEER = 2
_LOOK_AT = 100
_TABLE = WorkTable(
    PullRow,
    waits=(PullRow.status == PullStatus.WAITING) & (PullRow.next_try_at <= db_now()),
    in_hand=PullRow.status.in_(IN_HAND),
    lease_until=PullRow.lease_until,
)


@dataclass(frozen=True)
class Origin:
    """Who asks: whose study it will be, and how it came up (request, hook, changes)."""

    site: str
    kind: str
    source: str
    peer: str


@dataclass(frozen=True)
class ClaimedPull:
    """A pull in hand until its lease ends."""

    id: str
    claim: int
    tries: int
    site: str
    source: str
    peer: str
    kind: str
    wanted: Wanted


@dataclass(frozen=True)
class Fetched:
    """What a pull of one study brought: our ids as far as there are any."""

    instances: int
    skipped_instances: int
    arrival_id: str | None
    study_id: str | None
    run_id: str | None


class PullLine:
    """Reads and moves pulls. Methods that take a session work in the caller's transaction, the others in their own."""

    def __init__(self, database: Database, vault: IdentifierVault, settings: Settings) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._backoff = Backoff(settings.pull_first_s, settings.pull_longest_s)

    def ask(
        self, session: Session, origin: Origin, wanted: Wanted, *, urgency: int, occasion: str | None = None
    ) -> tuple[PullRow, bool]:
        """Put a pull into the line; returns it and whether it was there before.

        One that is still to be done answers for the same wish again; one ``occasion`` is pulled once and never again.
        """
        occasion = None if occasion is None else self._vault.blind_index("occasion", f"{origin.peer}\0{occasion}")
        known = self._known(session, origin, wanted, occasion)
        if known is not None:
            return known, True
        pull = self._new(session, origin, wanted, urgency, occasion)
        try:
            with session.begin_nested():
                session.add(pull)
        except IntegrityError:  # of two that tell of one occasion at once, one was first
            known = self._known(session, origin, wanted, occasion)
            if known is None:
                raise
            return known, True
        return pull, False

    def _known(self, session: Session, origin: Origin, wanted: Wanted, occasion: str | None) -> PullRow | None:
        if occasion is not None:
            return session.scalars(select(PullRow).where(PullRow.occasion == occasion)).first()
        query = select(PullRow).where(
            PullRow.site == origin.site,
            PullRow.peer == origin.peer,
            PullRow.source == origin.source,
            PullRow.wanted_index == self._index(wanted),
            PullRow.occasion.is_(None),
            PullRow.status.not_in(OVER),
        )
        return session.scalars(query).first()

    def _index(self, wanted: Wanted) -> str:
        return self._vault.blind_index("wanted", wanted.model_dump_json())

    def _new(self, session: Session, origin: Origin, wanted: Wanted, urgency: int, occasion: str | None) -> PullRow:
        now = now_of(session)
        pull_id, uid = str(uuid.uuid4()), wanted.study_uid
        return PullRow(
            id=pull_id,
            site=origin.site,
            source=origin.source,
            peer=origin.peer,
            origin=origin.kind,
            kind=STUDY if wanted.study_uid is not None else SEARCH,
            wanted=self._vault.seal(wanted.model_dump_json(exclude_none=True), pull_id),
            wanted_index=self._index(wanted),
            study_index=uid and self._vault.blind_index("study_uid", uid),
            occasion=occasion,
            urgency=urgency,
            status=PullStatus.WAITING,
            claim=0,
            tries=0,
            created_at=now,
            next_try_at=now,
            give_up_at=now + self._settings.pull_give_up_s,
            instances=0,
            skipped_instances=0,
        )

    def claim(self) -> ClaimedPull | None:
        """Take the most urgent pull that is due. No peer is asked for more than PULLS_PER_PEER at once."""
        with self._database.read() as session:
            if not _TABLE.has_due(session):
                return None
        with self._database.write() as session:
            busy = self._busy(session)
            for pull in _TABLE.lock_due(session, order=(PullRow.urgency, PullRow.seq), limit=_LOOK_AT):
                if busy.get((pull.source, pull.peer), 0) < PULLS_PER_PEER:
                    return self._take(session, pull)
        return None

    @staticmethod
    def _busy(session: Session) -> dict[tuple[str, str], int]:
        counted = session.execute(
            select(PullRow.source, PullRow.peer, func.count())
            .where(PullRow.status.in_(IN_HAND), PullRow.lease_until >= db_now())
            .group_by(PullRow.source, PullRow.peer)
        )
        return {(source, peer): count for source, peer, count in counted}

    def _take(self, session: Session, pull: PullRow) -> ClaimedPull:
        here = (PullRow.claim == pull.claim,)
        values = {
            "claim": PullRow.claim + 1,
            "tries": PullRow.tries + 1,
            "lease_until": db_now() + self._settings.pull_lease_s,
        }
        to = _in_hand(pull.kind)
        taken = _move(session, pull.id, PullStatus(pull.status), to, *here, **values)
        assert taken, "the row is locked"
        session.refresh(pull)
        wanted = Wanted.model_validate_json(self._vault.unseal(pull.wanted, pull.id))
        return ClaimedPull(pull.id, pull.claim, pull.tries, pull.site, pull.source, pull.peer, pull.kind, wanted)

    def renew(self, pull: ClaimedPull) -> bool:
        """Keep the pull; False where it is no longer ours."""
        with self._database.write() as session:
            until = db_now() + self._settings.pull_lease_s
            return self._moved(session, pull, _in_hand(pull.kind), lease_until=until)

    def found(self, pull: ClaimedPull, origin: Origin, study_uids: Sequence[str]) -> None:
        """End a search: its finds go into the line, and it is over when they are."""
        with self._database.write() as session:
            if not self._moved(session, pull, PullStatus.FETCHING, lease_until=None, fault=None):
                return
            for study_uid in study_uids:
                child = self._new(session, origin, Wanted(study_uid=study_uid), FOUND, None)
                child.parent_id = pull.id
                session.add(child)

    def done(self, pull: ClaimedPull, fetched: Fetched) -> None:
        """Note that a study is here."""
        values = {name: getattr(fetched, name) for name in Fetched.__dataclass_fields__}
        with self._database.write() as session:
            if self._moved(session, pull, PullStatus.DONE, lease_until=None, fault=None, ended_at=db_now(), **values):
                self._end_parent(session, pull.id)

    def failed(self, pull: ClaimedPull, code: str, reason: str, *, may_pass: bool) -> None:
        """Note that the pull did not work: it waits for its next try, or is over."""
        pause_s = self._backoff.pause_s(pull.tries)
        fault = {"code": code, "reason": reason}
        with self._database.write() as session:
            now, give_up_at = session.execute(select(db_now(), PullRow.give_up_at).where(PullRow.id == pull.id)).one()
            if may_pass and now + pause_s < give_up_at:
                self._moved(session, pull, PullStatus.WAITING, lease_until=None, fault=fault, next_try_at=now + pause_s)
            elif self._moved(session, pull, PullStatus.FAILED, lease_until=None, fault=fault, ended_at=now):
                self._end_parent(session, pull.id)

    def give_back(self, pull: ClaimedPull) -> None:
        """End before the pull does: another process takes it at once, and it is no try."""
        with self._database.write() as session:
            self._moved(session, pull, PullStatus.WAITING, lease_until=None, tries=PullRow.tries - 1)

    @staticmethod
    def _moved(session: Session, pull: ClaimedPull, to: PullStatus, **values: object) -> bool:
        """Move a pull that is still in these hands; False where it is not."""
        ours = PullRow.claim == pull.claim, PullRow.lease_until.is_not(None)
        return _move(session, pull.id, _in_hand(pull.kind), to, *ours, **values)

    @staticmethod
    def _end_parent(session: Session, pull_id: str) -> None:
        """End the search of which this was the last find: done where anything came of it."""
        parent_id = session.execute(select(PullRow.parent_id).where(PullRow.id == pull_id)).scalar_one()
        if parent_id is None:
            return
        parent = session.scalars(select(PullRow).where(PullRow.id == parent_id).with_for_update()).one()
        statuses = set(session.scalars(select(PullRow.status).where(PullRow.parent_id == parent_id)))
        if statuses <= set(OVER):
            to = PullStatus.DONE if PullStatus.DONE in statuses else PullStatus.FAILED
            _move(session, parent.id, PullStatus.FETCHING, to, ended_at=db_now())


def _in_hand(kind: str) -> PullStatus:
    return PullStatus.SEARCHING if kind == SEARCH else PullStatus.FETCHING


def _move(
    session: Session, pull_id: str, before: PullStatus, to: PullStatus, *only: ColumnElement[bool], **values: object
) -> bool:
    """Move a pull that stands at ``before`` and is as ``only`` says; whether it did.

    Raises AssertionError for a move that PULL_MOVES does not know.
    """
    return move_rows(session, PullRow.status, PULL_MOVES, {before}, to, PullRow.id == pull_id, *only, **values) == 1
