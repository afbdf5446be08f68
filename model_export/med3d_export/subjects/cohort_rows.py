"""A manifest's rows as a cohort to learn from."""

import math
from collections.abc import Iterable
from pathlib import Path

from med3d_contract.cohort_manifest import NEEDED_FOR_TRAINING, CohortScan, checked_scans
from med3d_contract.manifest_row import ManifestRow
from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject

ONE_SITE = "one site"
"""What a manifest without the column ``site`` says of everyone."""


def checked_cohort(rows: Iterable[ManifestRow], folder: Path, least_subjects: int) -> Cohort:
    """Return the cohort that ``rows`` describe; ``t1w`` is relative to ``folder``.

    Raises CohortError with every faulty row, not only the first, and where fewer than ``least_subjects`` people remain
    or all have the same age.
    """
    scans, problems = checked_scans(rows, folder, NEEDED_FOR_TRAINING)
    people = len({scan.participant_id for scan in scans})
    if not problems and people < least_subjects:
        problems.append(f"{people} subjects are too few: at least {least_subjects} are needed")
    if not problems and len({scan.age_years for scan in scans}) == 1:
        problems.append("every subject has the same age, so there is nothing to learn")
    if problems:
        raise CohortError(problems)
    return Cohort(tuple(_subject(scan) for scan in scans))


def _subject(scan: CohortScan) -> CohortSubject:
    assert scan.age_years is not None
    assert scan.sex is not None
    return CohortSubject(
        row=scan.row,
        participant_id=scan.participant_id,
        age_years=scan.age_years,
        sex=scan.sex,
        site=scan.site or ONE_SITE,
        t1w=scan.t1w,
        scanner=scan.scanner or "",
        sdmt=math.nan if scan.sdmt is None else scan.sdmt,
        visit=scan.visit,
    )
