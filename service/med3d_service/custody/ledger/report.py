"""What a check of the ledger says."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field

from med3d_contract.results import Frozen

MOST_SHOWN = 100
"""Of each code; all are counted."""

ACCOUNTS: Mapping[str, str] = {
    # code: what is not as it must be
    "study_without_run": "a study was accepted and has no run",
    "study_digest_disagrees": "a study's instances are not those that it was accepted with",
    "late_version_undecided": "nobody could say whether late instances change what can be analysed",
    "run_waits_too_long": "a run has waited without a sign of work for longer than the service's patience",
    "lease_not_ended": "a run is in work, but nobody holds a lease on it and the sweep has not taken it back",
    "lease_without_work": "a run that is not in work has a lease",
    "answer_missing": "a run has ended without the result, refusal or failure that its status stands for",
    "events_disagree": "the last event of a run is not where the run stands",
    "ended_twice": "a run has ended more than once",
    "attempt_disagrees": "a run and the attempts at it do not tell the same story",
    "successor_missing": "a run was superseded by one that is not there",
    "instance_unaccounted": "an instance was acknowledged and wanted, and no study of its arrival holds it",
    "instance_count_disagrees": "an arrival has not as many instances as it has counted",
    "arrival_not_settled": "instances have arrived and were not put together within the service's patience",
    "original_missing": "the store does not hold an original",
    "original_altered": "an original in the store has another size or digest than it was stored with",
    "working_copy_missing": "the store does not hold the working copy of a study that is still to be worked on",
    "working_copy_altered": "a working copy in the store has another digest than it was stored with",
    "report_missing": "the store does not hold a report that was made of a run",
    "report_altered": "a report in the store has another size or digest than it was stored with",
    "tensor_missing": "the store does not hold the tensor of a run that waits for its prediction",
}


class LedgerFinding(Frozen):
    """One discrepancy. ``subject`` is our id of the study, run, arrival or instance, or an object's key."""

    code: str
    subject: str

    @property
    def sentence(self) -> str:
        """What is not as it must be."""
        return ACCOUNTS[self.code]


class LedgerReport(Frozen):
    """A check of everything: how much was looked at, and what is not accounted for."""

    studies: int
    runs: int
    instances: int
    duration_s: float
    digests_verified: bool
    counts: dict[str, int] = Field(description="discrepancies by code; none where the ledger balances")
    findings: tuple[LedgerFinding, ...] = Field(description=f"at most {MOST_SHOWN} of each code")

    @property
    def balances(self) -> bool:
        """Everything is accounted for."""
        return not self.counts


class LedgerTally:
    """Counts findings, and keeps as many of each code as will be shown."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: list[LedgerFinding] = []

    def add(self, code: str, subjects: Iterable[str]) -> None:
        """Note a finding for each of ``subjects``."""
        for subject in subjects:
            self.counts[code] += 1
            if self.counts[code] <= MOST_SHOWN:
                self._kept.append(LedgerFinding(code=code, subject=subject))

    def __iter__(self) -> Iterator[LedgerFinding]:
        return iter(self._kept)
