"""Bringing a cohort into the service: what its store has is not sent again, so an import goes on where it stopped."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from med3d_client.study_stream import UnsendableStudy, Upload, open_study
from med3d_client.transport import ApiError
from med3d_contract.cohort_manifest import CohortScan
from med3d_contract.cohorts import MemberEntry, MembersAnswer
from med3d_contract.identity import UnreadableScanError, nifti_study_digest
from med3d_contract.results import Sex

AT_ONCE = 100
"""Rows between two looks at what is missing."""
DIGESTING_THREADS = 4


class Cohorts(Protocol):
    """The part of CohortsClient that is needed here."""

    def add(self, cohort: str, entries: Sequence[MemberEntry]) -> MembersAnswer:
        """Let studies join that are in the store."""
        ...

    def send(self, cohort: str, upload: Upload) -> str:
        """Send a study into a cohort."""
        ...


@dataclass
class Imported:
    """What became of a manifest's rows: sent, in the store already, or not taken, each with its row and why."""

    sent: int = 0
    known: int = 0
    problems: list[str] = field(default_factory=list)


def import_scans(
    client: Cohorts, cohort: str, scans: Sequence[CohortScan], on_row: Callable[[int], None] = lambda _: None
) -> Imported:
    """Bring every scan into the store and the cohort; ``on_row`` is told how many rows are done since the last call.

    A scan that cannot be read or that the service refuses is named with its row, and the others go on.
    """
    done = Imported()
    for some in _batches(scans):
        entries = list(_entries(some, done))
        missing = client.add(cohort, [entry for _, entry in entries]).missing if entries else ()
        done.known += len(entries) - len(missing)
        on_row(len(some) - len(missing))
        sent = [entries[place] for place in missing if _send(client, cohort, entries[place][0], done, on_row)]
        if sent:  # once more, for what the manifest says of them
            client.add(cohort, [entry for _, entry in sent])
            done.sent += len(sent)
    return done


def _batches(scans: Sequence[CohortScan]) -> Iterator[Sequence[CohortScan]]:
    return (scans[first : first + AT_ONCE] for first in range(0, len(scans), AT_ONCE))


def _entries(scans: Sequence[CohortScan], done: Imported) -> Iterator[tuple[CohortScan, MemberEntry]]:
    with ThreadPoolExecutor(DIGESTING_THREADS) as pool:  # zlib and hashlib work outside Python's lock
        for scan, digest in zip(scans, pool.map(_digest, (scan.t1w for scan in scans)), strict=True):
            if isinstance(digest, str):
                yield scan, _entry(scan, digest)
            else:
                done.problems.append(f"row {scan.row}: {scan.t1w.name} cannot be read: {digest}")


def _digest(path: Path) -> str | Exception:
    try:
        return nifti_study_digest(path)
    except (UnreadableScanError, OSError) as error:
        return error


def _entry(scan: CohortScan, digest: str) -> MemberEntry:
    return MemberEntry(
        study_digest=digest,
        participant_id=scan.participant_id,
        age=scan.age_years,
        sex=None if scan.sex is None else Sex(scan.sex),
        visit=scan.visit or None,
        scan_site=scan.site,
        scanner=scan.scanner,
        sdmt=scan.sdmt,
    )


def _send(client: Cohorts, cohort: str, scan: CohortScan, done: Imported, on_row: Callable[[int], None]) -> bool:
    try:
        with open_study(scan.t1w) as upload:
            client.send(cohort, upload)
    except (ApiError, UnsendableStudy, OSError) as error:
        done.problems.append(f"row {scan.row}: {scan.t1w.name} was not taken: {error}")
        return False
    finally:
        on_row(1)
    return True
