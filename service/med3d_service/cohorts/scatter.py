"""Estimates against ages over a cohort, and how far off they are.

Answers that a person rejected do not count, nor those on scans that the model learned from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy.orm import Session

from med3d_contract.results import Verdict
from med3d_service.cohorts.agreement import Mean95, correlation, mean_95
from med3d_service.cohorts.diff import cohort_members
from med3d_service.cohorts.member_rows import Member
from med3d_service.cohorts.tables import CohortRow
from med3d_service.runs.verdicts import standing_verdicts
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import BundleRow

AT_ONCE = 500


@dataclass(frozen=True)
class ScatterPoint:
    """A member whose age and brain age are known, in years."""

    run_id: str
    age: float
    brain_age: float
    decision: str

    @property
    def gap(self) -> float:
        """Brain age minus age."""
        return self.brain_age - self.age


@dataclass(frozen=True)
class CohortScatter:
    """The members that count, and how many do not: rejected by a person, of unknown age, or learned from."""

    points: tuple[ScatterPoint, ...]
    rejected: int
    ageless: int
    training_scans: int = 0

    @property
    def mean_absolute_error(self) -> Mean95 | None:
        """Years; None where no member counts."""
        return mean_95([abs(one.gap) for one in self.points]) if self.points else None

    @property
    def mean_gap(self) -> Mean95 | None:
        """Years; None where no member counts."""
        return mean_95([one.gap for one in self.points]) if self.points else None

    @property
    def correlation(self) -> float | None:
        """Correlation of brain age with age."""
        return correlation([one.age for one in self.points], [one.brain_age for one in self.points])


def cohort_scatter(database: Database, vault: IdentifierVault, cohort: CohortRow, bundle: BundleRow) -> CohortScatter:
    """Read the answers of a cohort by a bundle."""
    points: list[ScatterPoint] = []
    rejected = ageless = learned = 0
    with cohort_members(database, cohort, (bundle,)) as (session, members):
        for some in _batches(_answered(members)):
            turned_down = _rejected(session, vault, [one.answers[0].run_id or "" for one in some])
            for member in some:
                answer = member.answers[0]
                if answer.run_id in turned_down:
                    rejected += 1
                elif answer.is_training_scan:
                    learned += 1
                elif member.age is None:
                    ageless += 1
                else:
                    points.append(_point(member, member.age))
    return CohortScatter(tuple(points), rejected, ageless, learned)


def _answered(members: Iterable[Member]) -> Iterator[Member]:
    return (one for one in members if one.answers[0].brain_age is not None)


def _rejected(session: Session, vault: IdentifierVault, run_ids: Sequence[str]) -> frozenset[str]:
    standing = standing_verdicts(session, vault, run_ids)
    return frozenset(run_id for run_id, one in standing.items() if one.verdict in {Verdict.REJECTED, Verdict.RESCAN})


def _point(member: Member, age: float) -> ScatterPoint:
    answer = member.answers[0]
    decision: str | None = answer.figures["decision"]
    return ScatterPoint(answer.run_id or "", age, answer.brain_age or 0.0, decision or "")


def _batches(members: Iterator[Member]) -> Iterator[list[Member]]:
    while some := list(islice(members, AT_ONCE)):
        yield some
