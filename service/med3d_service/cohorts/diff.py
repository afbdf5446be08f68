"""What another bundle says of the same cohort: the morning report."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import Field
from sqlalchemy.orm import Session

from med3d_contract.results import BundleRef, Frozen
from med3d_service.cohorts.agreement import Accuracy, Agreement, Pair, accuracy, agreement
from med3d_service.cohorts.drift import DriftWatch, OriginDrift
from med3d_service.cohorts.figures import draw_figures
from med3d_service.cohorts.member_rows import Answer, Member, member_rows
from med3d_service.cohorts.progress import current_runs
from med3d_service.cohorts.tables import CohortRow
from med3d_service.runs.views import bundle_ref
from med3d_service.storage.database import Database, now_of
from med3d_service.storage.tables import BundleRow

MOST_NAMED = 200
DEFAULT_GAP_YEARS = 10.0
LATENT = ("distance", "pca_1", "pca_2")


class Change(Frozen):
    """A member whose answer is of another kind now. before and after: a number in words, a code, or a decision."""

    study_id: str
    before: str
    after: str


class Changes(Frozen):
    """How many, and the first of them by name."""

    count: int
    members: tuple[Change, ...] = Field(description=f"at most {MOST_NAMED}")


class CohortDiff(Frozen):
    """Two bundles on one cohort. Shifts are the second's minus the first's; figures of members with both numbers.

    brain_age_shift, sdmt_shift: None for fewer than two pairs. brain_age_accuracy: where ages are known and neither
    bundle learned from the scan (healthy people alone make it an error; of patients it holds the disease).
    sdmt_accuracy: the same where SDMT was measured. gap_crossings: the brain-age gap is at or above ``gap_years`` by
    one bundle alone.
    """

    cohort: str
    first: BundleRef
    second: BundleRef
    members: int
    both: int = Field(description="members with a number by both")
    only_first_ran: int = Field(description="members that the second has not answered yet")
    brain_age_shift: Agreement | None
    brain_age_accuracy: Accuracy | None
    training_scans: int = Field(0, description="members whose scan one of the bundles learned from: in no accuracy")
    sdmt_shift: Agreement | None
    sdmt_accuracy: Accuracy | None
    sdmt_evidence: tuple[str, ...] = Field(description="what the SDMT heads learned from")
    unknown_sites: tuple[int, int] = Field(description="answers without the correction for sites that a bundle makes")
    newly_refused: Changes
    newly_accepted: Changes
    newly_failed: Changes
    decision_changes: Changes
    gap_years: float
    gap_crossings: Changes
    drift: tuple[OriginDrift, ...]


@dataclass(frozen=True)
class DiffPoints:
    """What charts show: (first, second) brain ages, and (age, first, second) where ages are known."""

    pairs: list[Pair] = field(default_factory=list)
    by_age: list[tuple[float, float, float]] = field(default_factory=list)


@contextmanager
def cohort_members(
    database: Database, cohort: CohortRow, bundles: tuple[BundleRow, ...]
) -> Iterator[tuple[Session, Iterator[Member]]]:
    """Read the members with their answers, of which the figures are drawn first where they are missing."""
    for bundle in bundles:
        draw_figures(database, current_runs(cohort.id, bundle.digest))
    with database.read() as session:
        yield session, member_rows(session, cohort.id, [bundle.digest for bundle in bundles])


def cohort_diff(
    database: Database, cohort: CohortRow, first: BundleRow, second: BundleRow, gap_years: float = DEFAULT_GAP_YEARS
) -> tuple[CohortDiff, DiffPoints]:
    """Compare two bundles on a cohort, in one pass over its members."""
    with cohort_members(database, cohort, (first, second)) as (session, members):
        gathered = _Gathered(now_of(session), gap_years)
        for member in members:
            gathered.add(member)
    return gathered.diff(cohort, first, second), DiffPoints(gathered.pairs, gathered.by_age)


class _Gathered:
    """Numbers of members, as they come by."""

    def __init__(self, now: float, gap_years: float) -> None:
        self.pairs: list[Pair] = []
        self.by_age: list[tuple[float, float, float]] = []
        self._gap_years = gap_years
        self._sdmt_pairs: list[Pair] = []
        self._sdmt_measured: list[tuple[float, float, float]] = []
        self._evidence: set[str] = set()
        self._unknown_sites = [0, 0]
        self._members = self._only_first = self._training_scans = 0
        self._fresh_by_age: list[tuple[float, float, float]] = []
        self._changes: dict[str, tuple[int, list[Change]]] = {}
        self._drift = DriftWatch(now)

    def add(self, member: Member) -> None:
        before, after = member.answers
        self._members += 1
        self._only_first += before.status in _ANSWERED and after.status not in _ANSWERED
        for place, answer in enumerate(member.answers):
            self._unknown_sites[place] += answer.figures["site_correction"] == "unknown_site"
        self._note_drift(member)
        self._note_kind(member, before, after)
        learned = before.is_training_scan or after.is_training_scan
        if before.brain_age is not None and after.brain_age is not None:
            self.pairs.append((before.brain_age, after.brain_age))
            self._training_scans += learned
            if member.age is not None:
                if not learned:
                    self._fresh_by_age.append((member.age, before.brain_age, after.brain_age))
                self.by_age.append((member.age, before.brain_age, after.brain_age))
                self._note_gap(member.study_id, member.age, before.brain_age, after.brain_age)
        self._note_sdmt(member, learned=learned)

    def diff(self, cohort: CohortRow, first: BundleRow, second: BundleRow) -> CohortDiff:
        return CohortDiff(
            cohort=cohort.name,
            first=bundle_ref(first),
            second=bundle_ref(second),
            members=self._members,
            both=len(self.pairs),
            only_first_ran=self._only_first,
            brain_age_shift=agreement(self.pairs),
            brain_age_accuracy=accuracy(self._fresh_by_age),
            training_scans=self._training_scans,
            sdmt_shift=agreement(self._sdmt_pairs),
            sdmt_accuracy=accuracy(self._sdmt_measured),
            sdmt_evidence=tuple(sorted(self._evidence)),
            unknown_sites=(self._unknown_sites[0], self._unknown_sites[1]),
            newly_refused=self._changed("refused"),
            newly_accepted=self._changed("accepted"),
            newly_failed=self._changed("failed"),
            decision_changes=self._changed("decision"),
            gap_years=self._gap_years,
            gap_crossings=self._changed("gap"),
            drift=self._drift.found(),
        )

    def _changed(self, kind: str) -> Changes:
        count, named = self._changes.get(kind, (0, []))
        return Changes(count=count, members=tuple(named))

    def _note(self, kind: str, study_id: str, before: str, after: str) -> None:
        count, named = self._changes.get(kind, (0, []))
        if count < MOST_NAMED:
            named.append(Change(study_id=study_id, before=before, after=after))
        self._changes[kind] = (count + 1, named)

    def _note_kind(self, member: Member, before: Answer, after: Answer) -> None:
        if before.status == "completed" and after.status in {"refused", "failed"}:
            self._note(after.status, member.study_id, _in_words(before), _in_words(after))
        elif before.status in {"refused", "failed"} and after.status == "completed":
            self._note("accepted", member.study_id, _in_words(before), _in_words(after))
        elif before.status == after.status == "completed":
            decisions = [str(answer.figures["decision"]) for answer in (before, after)]
            if decisions[0] != decisions[1]:
                self._note("decision", member.study_id, *decisions)

    def _note_gap(self, study_id: str, age: float, before: float, after: float) -> None:
        if (before - age >= self._gap_years) != (after - age >= self._gap_years):
            self._note("gap", study_id, f"{before - age:+.1f} years", f"{after - age:+.1f} years")

    def _note_sdmt(self, member: Member, *, learned: bool) -> None:
        before, after = (answer.figures["sdmt"] for answer in member.answers)
        self._evidence |= {said for answer in member.answers if (said := answer.figures["sdmt_evidence"])}
        if before is not None and after is not None:
            self._sdmt_pairs.append((before, after))
            if member.sdmt is not None and not learned:
                self._sdmt_measured.append((member.sdmt, before, after))

    def _note_drift(self, member: Member) -> None:
        """Order by the second bundle where it has measured, else by the first: never some of each for one scan."""
        figures = next((a.figures for a in reversed(member.answers) if a.figures["measures"]), None)
        if figures is not None:
            measures = figures["measures"] | {f"latent {name}": figures[name] for name in LATENT}
            self._drift.add(member.scan_site, member.scanner, member.received_at, measures)


_ANSWERED = frozenset({"completed", "refused", "failed"})


def _in_words(answer: Answer) -> str:
    return f"{answer.brain_age:.1f} years" if answer.brain_age is not None else str(answer.code)
