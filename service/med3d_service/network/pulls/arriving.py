"""How arriving studies are shown: where each stands, which rules matched, and why there is no run or no answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from med3d_contract.arrivals import ArrivalReport, ArrivalState, MatchedRule, TurnedAway
from med3d_contract.results import RunStatus
from med3d_service.network.pulls.states import PullStatus
from med3d_service.network.pulls.tables import PullRow
from med3d_service.runs.views import moment
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.copy_states import CopyStatus
from med3d_service.storage.counters import TurnedAwayRow
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.studies.arrivals.states import ArrivalStatus

MOST_ANNOUNCED = 200
_OPEN = (PullStatus.WAITING, PullStatus.FETCHING, PullStatus.FAILED)


@dataclass(frozen=True)
class _Standing:
    state: ArrivalState
    why: str
    code: str | None = None
    until: float | None = None


@dataclass(frozen=True)
class _Around:
    """What the rows around an arrival say."""

    run: RunRow | None
    copy: CopyStatus | None
    pull: PullRow | None
    quiet_s: float


def reports(session: Session, arrivals: Sequence[ArrivalRow], quiet_s: float) -> tuple[ArrivalReport, ...]:
    """Show arrivals, in their order."""
    rules = _rules_of(session, [one.id for one in arrivals])
    around = [_around(session, one, quiet_s) for one in arrivals]
    return tuple(_report(one, near, rules.get(one.id, ())) for one, near in zip(arrivals, around, strict=True))


def announced(session: Session, site_is_seen: ColumnElement[bool]) -> tuple[ArrivalReport, ...]:
    """Show what pulls are to get and has not come."""
    return tuple(_announced(one) for one in session.scalars(_not_come(site_is_seen)))


def _not_come(site_is_seen: ColumnElement[bool]) -> Select[PullRow]:
    """Select the pulls of studies of which nothing has come, the newest first."""
    arrived = select(ArrivalRow.id).where(
        ArrivalRow.site == PullRow.site, ArrivalRow.study_index == PullRow.study_index
    )
    return (
        select(PullRow)
        .where(site_is_seen, PullRow.kind == "study", PullRow.status.in_(_OPEN), ~arrived.exists())
        .order_by(PullRow.seq.desc())
        .limit(MOST_ANNOUNCED)
    )


def turned_away(session: Session, limit: int) -> tuple[TurnedAway, ...]:
    """Show who was turned away last."""
    rows = session.scalars(select(TurnedAwayRow).order_by(TurnedAwayRow.last_at.desc()).limit(limit))
    return tuple(
        TurnedAway(
            reason=row.reason,
            address=row.address,
            ae_title=row.ae_title,
            count=row.count,
            first_at=moment(row.first_at),
            last_at=moment(row.last_at),
        )
        for row in rows
    )


def _around(session: Session, arrival: ArrivalRow, quiet_s: float) -> _Around:
    run = _current_run(session, arrival.run_id)
    copy = select(StudyRow.working_status).where(StudyRow.id == arrival.study_id)
    status = None if arrival.study_id is None else session.scalars(copy).first()
    pull = session.scalars(
        select(PullRow)
        .where(PullRow.site == arrival.site, PullRow.study_index == arrival.study_index, PullRow.status.in_(_OPEN))
        .order_by(PullRow.seq.desc())
    ).first()
    return _Around(run, None if status is None else CopyStatus(status), pull, quiet_s)


def _current_run(session: Session, run_id: str | None) -> RunRow | None:
    """Return the run for the one that an arrival got: it was requeued since, or its patient was corrected."""
    run, seen = None, set[str]()
    while run_id is not None and run_id not in seen:
        seen.add(run_id)
        found = session.scalars(select(RunRow).where(RunRow.id == run_id)).first()
        run, run_id = (run, None) if found is None else (found, found.superseded_by)
    return run


def _standing(arrival: ArrivalRow, around: _Around) -> _Standing:
    if arrival.status == ArrivalStatus.RECEIVING:
        return _coming(arrival, around)
    if arrival.corrected_at is not None:
        return _Standing(
            ArrivalState.CORRECTING, "Its patient was corrected in part; send the rest, too.", arrival.fault
        )
    if arrival.fault is not None:
        return _Standing(ArrivalState.AT_FAULT, "Correct it at the PACS, and send all of it again.", arrival.fault)
    run = around.run
    if run is None:
        return _Standing(ArrivalState.IGNORED, "No routing rule wants any of its series: `med3d rules test` says why.")
    if around.copy is CopyStatus.PARKED:
        why = "It holds no usable T1-weighted series yet; without one it is answered then."
        return _Standing(ArrivalState.WAITING_FOR_T1, why, until=arrival.wait_until)
    return _of_run(run)


def _coming(arrival: ArrivalRow, around: _Around) -> _Standing:
    if arrival.corrected_at is not None:
        why = "Its patient is being corrected: nothing of it goes out until it was quiet for a while."
        return _Standing(ArrivalState.CORRECTING, why, until=arrival.last_at + around.quiet_s)
    if around.pull is not None:
        fault = around.pull.fault
        if fault is None:
            return _Standing(ArrivalState.RECEIVING, "It is being fetched.")
        ended = around.pull.status == PullStatus.FAILED
        return _Standing(
            ArrivalState.INCOMPLETE,
            str(fault["reason"]),
            str(fault["code"]),
            None if ended else around.pull.next_try_at,
        )
    why = "It is looked at when nothing has come of it for a while, or when somebody says that it is whole."
    return _Standing(ArrivalState.RECEIVING, why, until=arrival.last_at + around.quiet_s)


def _of_run(run: RunRow) -> _Standing:
    match RunStatus(run.status):
        case RunStatus.COMPLETED:
            return _Standing(ArrivalState.ANSWERED, "It has its answer.")
        case RunStatus.REFUSED:
            refusal = run.refusal or {}
            return _Standing(ArrivalState.ANSWERED, str(refusal.get("reason", "")), refusal.get("code"))
        case RunStatus.FAILED | RunStatus.CANCELLED:
            failure = run.failure or {"reason": "Its run was cancelled.", "code": "cancelled"}
            return _Standing(ArrivalState.FAILED, str(failure["reason"]), str(failure["code"]))
        case status:
            return _Standing(ArrivalState.IN_WORK, f"Its run is {status}.")


def _rules_of(session: Session, arrival_ids: Sequence[str]) -> Mapping[str, tuple[MatchedRule, ...]]:
    counted = (
        select(ArrivedInstanceRow.arrival_id, ArrivedInstanceRow.rule, func.count())
        .where(ArrivedInstanceRow.arrival_id.in_(arrival_ids))
        .group_by(ArrivedInstanceRow.arrival_id, ArrivedInstanceRow.rule)
    )
    found: dict[str, list[MatchedRule]] = {}
    for arrival_id, rule, count in session.execute(counted):
        found.setdefault(arrival_id, []).append(MatchedRule(rule=rule, instances=count))
    return {one: tuple(sorted(rules, key=lambda rule: rule.rule or "~")) for one, rules in found.items()}


def _report(arrival: ArrivalRow, around: _Around, rules: tuple[MatchedRule, ...]) -> ArrivalReport:
    standing = _standing(arrival, around)
    ae_title, _, address = arrival.sender.rpartition("@")
    return ArrivalReport(
        arrival_id=arrival.id,
        pull_id=None,
        state=standing.state,
        why=standing.why,
        code=standing.code,
        until=None if standing.until is None else moment(standing.until),
        inlet=arrival.source,
        ae_title=ae_title,
        address=address,
        called_ae_title=arrival.called,
        first_at=moment(arrival.first_at),
        last_at=moment(arrival.last_at),
        instances=arrival.instances,
        expected=arrival.expected,
        rules=rules,
        study_id=arrival.study_id,
        run_id=None if around.run is None else around.run.id,
    )


def _announced(pull: PullRow) -> ArrivalReport:
    fault = pull.fault or {}
    failed = pull.status == PullStatus.FAILED
    waits = pull.status == PullStatus.WAITING
    return ArrivalReport(
        arrival_id=None,
        pull_id=pull.id,
        state=ArrivalState.FAILED if failed else ArrivalState.ANNOUNCED,
        why=str(fault.get("reason", "It is fetched when its turn comes.")),
        code=fault.get("code"),
        until=moment(pull.next_try_at) if waits else None,
        inlet=pull.origin,
        ae_title=pull.peer,
        address="",
        first_at=moment(pull.created_at),
        last_at=moment(pull.created_at),
        instances=pull.instances,
        expected=None,
        rules=(),
        study_id=None,
        run_id=None,
    )
