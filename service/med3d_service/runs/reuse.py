"""What preprocessing left for one bundle serves another that preprocesses alike: a new encoder costs encoding only."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.work import Findings, Preprocessed
from med3d_service.storage.tables import BundleRow, RunRow


def prepared_for(
    session: Session, bundle: BundleRow, study_ids: Collection[str], chosen_series: str = ""
) -> dict[str, dict[str, Any]]:
    """Return what a run by ``bundle`` of each study can begin with (columns of RunRow), where there is such.

    Measures are held against the new bundle's limits where it is predicted. A tensor that has gone from the store
    meanwhile costs one try: the run goes back to be preprocessed.
    """
    if bundle.preprocessing_digest is None or not study_ids:
        return {}
    earlier = (
        select(RunRow)
        .where(
            RunRow.study_id.in_(study_ids),
            RunRow.chosen_series == chosen_series,
            RunRow.bundle_digest != bundle.digest,
            RunRow.preprocessed.is_not(None),
            RunRow.tensor_removed_at.is_(None),
        )
        .order_by(RunRow.seq)
    )
    found = {}
    for run in session.scalars(earlier):
        known = Preprocessed.model_validate(run.preprocessed)
        if known.findings.provenance.preprocessing_digest == bundle.preprocessing_digest:
            found[run.study_id] = _columns(run, known)
    return found


def prepared_again(run: RunRow) -> dict[str, Any] | None:
    """Return what another run of the same bundle and series can begin with.

    None where there is no tensor (any more).
    """
    if run.preprocessed is None or run.tensor_removed_at is not None:
        return None
    return _columns(run, Preprocessed.model_validate(run.preprocessed))


def _columns(run: RunRow, known: Preprocessed) -> dict[str, Any]:
    # The seconds that it took are the earlier run's, and no part of this one's.
    provenance = known.findings.provenance.model_copy(update={"timings_s": {}})
    findings = known.findings.model_copy(update={"provenance": provenance})
    carried = known.model_copy(update={"findings": findings})
    return {name: getattr(run, name) for name in Findings.model_fields} | {
        "preprocessed": carried.model_dump(mode="json"),
        "provenance": provenance.model_dump(mode="json"),
    }
