"""The figures of answers, drawn out of each run's JSON once: a report over ten thousand reads columns."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, delete, insert, or_

from med3d_contract.results import Reason, RunStatus
from med3d_service.cohorts.tables import FiguresRow
from med3d_service.storage.database import Database
from med3d_service.storage.tables import RunRow

AT_ONCE = 500
ANSWERS = (RunStatus.COMPLETED, RunStatus.REFUSED)


def draw_figures(database: Database, runs: Select[Any]) -> int:
    """Draw those that are missing of the answered ones among ``runs`` (a select of RunRow); how many were.

    Rows without ``reason_codes`` were drawn by a release that did not have them, and are drawn again.
    """
    wanted = (
        runs.with_only_columns(RunRow)
        .outerjoin(FiguresRow, FiguresRow.run_id == RunRow.id)
        .where(RunRow.status.in_(ANSWERS), or_(FiguresRow.run_id.is_(None), FiguresRow.reason_codes.is_(None)))
        .order_by(RunRow.seq)
        .limit(AT_ONCE)
    )
    drawn = 0
    while True:
        with database.write() as session:
            rows = [_figures(run) for run in session.scalars(wanted)]
            if rows:
                session.execute(delete(FiguresRow).where(FiguresRow.run_id.in_([row["run_id"] for row in rows])))
                session.execute(insert(FiguresRow), rows)
        drawn += len(rows)
        if len(rows) < AT_ONCE:
            return drawn


def _figures(run: RunRow) -> dict[str, Any]:
    result = run.result or {}
    brain_age, sdmt = result.get("brain_age") or {}, result.get("sdmt") or {}
    assessment, latent = result.get("assessment") or {}, result.get("latent") or {}
    acquisition = (run.preprocessed or {}).get("acquisition") or {}
    distribution = assessment.get("out_of_distribution") or {}
    pca = (latent.get("map") or {}).get("pca") or (None, None)
    return {
        "run_id": run.id,
        "code": (run.refusal or {}).get("code"),
        "brain_age": brain_age.get("estimate"),
        "brain_age_lower": _bound(brain_age, "lower"),
        "brain_age_upper": _bound(brain_age, "upper"),
        "gap_corrected": (brain_age.get("gap_corrected") or {}).get("estimate"),
        "sdmt": sdmt.get("estimate"),
        "sdmt_lower": _bound(sdmt, "lower"),
        "sdmt_upper": _bound(sdmt, "upper"),
        "sdmt_evidence": _short(sdmt.get("evidence"), 200),
        "decision": assessment.get("decision"),
        "distance": distribution.get("distance"),
        "percentile": distribution.get("percentile"),
        "pca_1": pca[0],
        "pca_2": pca[1],
        "measures": (run.quality or {}).get("measures"),
        "manufacturer": _short(acquisition.get("manufacturer"), 80),
        "model": _short(acquisition.get("model"), 80),
        "field_strength_t": acquisition.get("field_strength_t"),
        "sequence": _short(acquisition.get("sequence"), 200),
        "preprocessing_digest": (run.provenance or {}).get("preprocessing_digest"),
        "site_correction": (assessment or (run.refusal or {}).get("details") or {}).get("site_correction"),
        "calibrated_for": _short(assessment.get("calibrated_for"), 64),
        "reason_codes": _codes(assessment.get("reasons"))[:600],
    }


def _bound(estimate: dict[str, Any], name: str) -> float | None:
    return (estimate.get("interval") or {}).get(name)


def _codes(reasons: Iterable[Any] | None) -> str:
    """Return the codes of reasons as they are stored, also of answers whose reasons were prose; empty for none."""
    return "; ".join(Reason.model_validate(one).code for one in reasons or ())


def _short(text: str | None, longest: int) -> str | None:
    return None if text is None else text[:longest]


def joined_words(*words: object) -> str | None:
    """Return what is known of ``words``, with blanks between; None where nothing is."""
    known: Iterable[str] = (str(word) for word in words if word is not None)
    return " ".join(known) or None
