"""Whom a run's images show, with what the manifest of an import says of the scan."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.work import Subject
from med3d_service.cohorts.tables import ScanFactsRow
from med3d_service.runs.views import analysed_series, subject_of
from med3d_service.storage.tables import RunRow, StudyRow


def subjects_of(session: Session, runs: Sequence[RunRow], studies: Mapping[str, StudyRow]) -> dict[str, Subject]:
    """Return age and sex by run, with the site that an import's manifest names, for models that correct for sites.

    ``studies`` by their ids.
    """
    named = select(ScanFactsRow.study_id, ScanFactsRow.scan_site).where(ScanFactsRow.study_id.in_(list(studies)))
    sites: dict[str, str | None] = dict(iter(session.execute(named)))
    return {
        run.id: subject_of(studies[run.study_id], analysed_series(run.source, run.series)).model_copy(
            update={"scan_site": sites.get(run.study_id)}
        )
        for run in runs
    }
