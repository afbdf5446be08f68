"""The state machine of runs under random orders of events, for any database."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from med3d_contract.results import RunStatus
from med3d_contract.work import ActiveAttempt, Outcome
from med3d_service.problems import ServiceError
from med3d_service.runs import transitions
from med3d_service.storage.database import Database
from med3d_service.storage.tables import AttemptRow, RunEventRow, RunRow
from rig.service.parts import LEASES, add_run, completed, failed, preprocessed, refused, worker

Claim: TypeAlias = tuple[str, int]
IN_WORK = {"preprocessing", "predicting"}


class Runs(RuleBasedStateMachine):
    """Every claim that was ever given may speak at any time; the database must stay one story."""

    claims = Bundle("claims")

    def open_empty(self) -> Database:
        """Open a database that has its schema and nothing else."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove it."""

    @initialize(count=st.integers(1, 3))
    def start(self, count: int) -> None:
        self.database = self.open_empty()
        self.run_ids = [add_run(self.database) for _ in range(count)]
        self.terminal: dict[str, str | None] = {}
        self.numbers = dict.fromkeys(self.run_ids, 0)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.remove()

    @rule(target=claims, index=st.integers(0, 2))
    def claim_preprocess(self, index: int) -> Any:
        run_id = self.run_ids[index % len(self.run_ids)]
        try:
            with self.database.write() as session:
                run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        except ServiceError:
            return multiple()
        self._numbered(run)
        return (run_id, run.attempt)

    @rule(target=claims, limit=st.integers(1, 3))
    def claim_predict(self, limit: int) -> Any:
        with self.database.write() as session:
            runs = transitions.claim_predict(session, worker(), limit, LEASES)
        for run in runs:
            self._numbered(run)
        return multiple(*[(run.id, run.attempt) for run in runs])

    @rule(claim=claims)
    def say_preprocessed(self, claim: Claim) -> None:
        self._say(lambda session: transitions.store_preprocessed(session, claim[0], preprocessed(claim[1])))

    @rule(claim=claims, kind=st.sampled_from(["completed", "refused", "retryable", "final"]))
    def say_outcome(self, claim: Claim, kind: str) -> None:
        outcomes: dict[str, Outcome] = {
            "completed": completed(claim[1]),
            "refused": refused(claim[1]),
            "retryable": failed(claim[1], retryable=True),
            "final": failed(claim[1], retryable=False),
        }
        self._say(lambda session: transitions.store_outcome(session, claim[0], outcomes[kind], LEASES))

    @rule(claim=claims)
    def say_heartbeat(self, claim: Claim) -> None:
        with self.database.write() as session:
            transitions.renew(session, [ActiveAttempt(run_id=claim[0], attempt=claim[1], stage="working")], LEASES)

    @rule(claim=claims)
    def give_back(self, claim: Claim) -> None:
        with self.database.write() as session:
            transitions.release(session, [ActiveAttempt(run_id=claim[0], attempt=claim[1])])

    @rule(said=st.lists(claims, min_size=1, max_size=3), kind=st.sampled_from(["preprocessed", "completed", "refused"]))
    def say_several_at_once(self, said: list[Claim], kind: str) -> None:
        said_of: dict[str, Callable[[int], Any]] = {
            "preprocessed": preprocessed, "completed": completed, "refused": refused,
        }  # fmt: skip
        ended = {run_id: said_of[kind](attempt) for run_id, attempt in said}
        with self.database.write() as session:
            if kind == "preprocessed":
                over = transitions.store_all_preprocessed(session, ended)
            else:
                over = transitions.store_all_outcomes(session, ended, LEASES)
        assert over <= ended.keys()

    @rule(target=claims, index=st.integers(0, 2), limit=st.integers(2, 3))
    def claim_with_companions(self, index: int, limit: int) -> Any:
        run_id = self.run_ids[index % len(self.run_ids)]
        try:
            with self.database.write() as session:
                runs = transitions.claim_preprocess_with_batch_mates(session, run_id, worker(), limit, LEASES)
        except ServiceError:
            return multiple()
        assert len(runs) <= limit
        for run in runs:
            self._numbered(run)
        return multiple(*[(run.id, run.attempt) for run in runs])

    @rule(index=st.integers(0, 2))
    def a_lease_ends(self, index: int) -> None:
        run_id = self.run_ids[index % len(self.run_ids)]
        with self.database.write() as session:
            session.execute(
                update(RunRow)
                .where(RunRow.id == run_id, RunRow.lease_expires_at.is_not(None))
                .values(lease_expires_at=0.0)
            )
        with self.database.write() as session:
            transitions.lose_expired(session, LEASES)

    def _say(self, call: Callable[[Session], Any]) -> None:
        try:
            with self.database.write() as session:
                call(session)
        except ServiceError as error:
            assert error.code == "attempt_over"  # noqa: PT017 - or it is taken

    def _numbered(self, run: RunRow) -> None:
        assert run.attempt > self.numbers[run.id], "an attempt's number only grows"
        self.numbers[run.id] = run.attempt

    @invariant()
    def the_database_tells_one_story(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.database.read() as session:
            for run in session.scalars(select(RunRow)):
                self._check(
                    run,
                    list(session.scalars(select(AttemptRow).where(AttemptRow.run_id == run.id))),
                    list(
                        session.scalars(
                            select(RunEventRow).where(RunEventRow.run_id == run.id).order_by(RunEventRow.seq)
                        )
                    ),
                )

    def _check(self, run: RunRow, attempts: Sequence[AttemptRow], events: Sequence[RunEventRow]) -> None:
        status = RunStatus(run.status)
        in_hand = [attempt for attempt in attempts if attempt.ended_at is None]
        assert len(in_hand) == (1 if run.status in IN_WORK else 0), "one holder while in work, none otherwise"
        assert all(attempt.number == run.attempt for attempt in in_hand)
        assert (run.lease_expires_at is not None) == (run.status in IN_WORK)
        assert events[-1].status == run.status
        ends = [event for event in events if RunStatus(event.status).is_terminal]
        assert len(ends) == (1 if status.is_terminal else 0), "an end is told once, and is the end"
        assert self.terminal.setdefault(run.id, run.status if status.is_terminal else None) in {None, run.status}
        if status.is_terminal:
            self.terminal[run.id] = run.status
        else:
            assert self.terminal[run.id] is None
            del self.terminal[run.id]
        assert (run.result is not None) == (run.status == "completed")
        assert (run.refusal is not None) == (run.status == "refused")
        assert (run.failure is not None) == (run.status == "failed")
        assert run.tries <= LEASES.max_tries
        begun = [one for one in attempts if one.heard_at is not None or one.ending in {"retried", "failed"}]
        assert run.tries <= len(begun), "what nobody was heard of costs no try"
