"""The worklist as a table: what the filters ask for, under pseudonyms, as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from med3d_contract.spreadsheets import safe_text
from med3d_service.runs.worklist import ListedRun

COLUMNS = (
    "run_id", "study_id", "pseudonym", "state", "code", "age", "brain_age", "brain_age_lower", "brain_age_upper", "gap",
    "verdict", "source", "bundle", "sent", "site",
)  # fmt: skip
MOST_ROWS = 5000


def as_table(runs: Sequence[ListedRun], pseudonyms: Mapping[str, str]) -> str:
    """Write the runs as CSV; ``pseudonyms`` by study."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows(
        [safe_text(cell) if isinstance(cell, str) else cell for cell in _cells(one, pseudonyms)] for one in runs
    )
    return buffer.getvalue()


def _cells(listed: ListedRun, pseudonyms: Mapping[str, str]) -> Iterator[str | float | None]:
    run, found = listed.run, None if listed.run.result is None else listed.run.result.brain_age
    fault, age = run.refusal or run.failure, listed.subject.age
    yield from (run.run_id, run.study_id, pseudonyms.get(run.study_id, ""), str(listed.shown))
    yield from (None if fault is None else fault.code, None if age is None else age.years)
    if found is None:
        yield from (None, None, None, None)
    else:
        yield from (found.estimate, found.interval.lower, found.interval.upper)
        yield None if found.gap is None else found.gap.estimate
    yield from ("" if run.verdict is None else str(run.verdict.verdict), listed.sender)
    yield from (f"{run.bundle.name}@{run.bundle.version}", run.created_at.isoformat(), listed.site)
