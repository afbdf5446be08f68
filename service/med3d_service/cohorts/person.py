"""One person over time as a screen shows it: the trajectory, when each visit was, and what people made of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import VerdictView
from med3d_service.cohorts.export import Cell
from med3d_service.cohorts.figures import draw_figures
from med3d_service.cohorts.trajectory import (
    SUBJECT_KINDS,
    Trajectory,
    Visit,
    answered_runs,
    stated_errors,
    subject_studies,
    trajectory,
)
from med3d_service.problems import ServiceError
from med3d_service.runs.bundles import find_bundle
from med3d_service.runs.verdicts import standing_verdicts
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import IdentifierRow
from med3d_service.studies.finding import names_of
from med3d_service.trust.access import Caller
from med3d_store.object_store import ObjectStore

COLUMNS = (
    "study_id", "run_id", "visit", "time", "time_basis", "age", "brain_age", "brain_age_lower", "brain_age_upper",
    "gap", "sdmt", "sdmt_lower", "sdmt_upper", "sdmt_measured", "decision", "code", "breaks", "bundle",
    "bundle_digest",
)  # fmt: skip
DIGITS = 4


@dataclass(frozen=True)
class Person:
    """A subject over time. ``name`` and ``dates`` (DICOM, by study): who and when it was, for those who may know."""

    trajectory: Trajectory
    name: tuple[str, ...] = field(repr=False)
    dates: Mapping[str, str] = field(repr=False)
    verdicts: Mapping[str, VerdictView]

    @property
    def run_ids(self) -> list[str]:
        """The runs whose answers are shown, the latest visit's first."""
        return [visit.run_id for visit in reversed(self.trajectory.visits)]


def read_trajectory_of(
    database: Database, store: ObjectStore, vault: IdentifierVault, caller: Caller, subject_id: str, wanted: str | None
) -> Trajectory:
    """Read a subject's answers by a bundle, else by the default one.

    Raises ServiceError: unknown_subject, unknown_bundle, no_bundle, bundle_forged.
    """
    with database.read() as session:
        if session.scalars(subject_studies(caller, subject_id).limit(1)).first() is None:
            raise ServiceError("unknown_subject")
        bundle = find_bundle(session, wanted)
    draw_figures(database, answered_runs(caller, subject_id, bundle.digest))
    errors = stated_errors(store, bundle.digest)
    with database.read() as session:
        return trajectory(session, vault, caller, subject_id, bundle, errors)


def read_person(
    database: Database, store: ObjectStore, vault: IdentifierVault, caller: Caller, subject_id: str, wanted: str | None
) -> Person:
    """Read a subject's answers with what is known beside them. Raises ServiceError as read_trajectory_of does."""
    found = read_trajectory_of(database, store, vault, caller, subject_id, wanted)
    studies = {visit.study_id for visit in found.visits}
    with database.read() as session:
        names = names_of(session, vault, caller, studies)
        dates = vault.read_all(session, studies, "study_date") if caller.clinical else {}
        verdicts = standing_verdicts(session, vault, [visit.run_id for visit in found.visits])
    latest = next((names[visit.study_id] for visit in reversed(found.visits) if visit.study_id in names), ())
    return Person(found, latest, dates, verdicts)


def subject_id_of(session: Session, study_id: str) -> str | None:
    """Return whose study it is: by the sender's pseudonym, else by the patient's ID; None where it has neither."""
    query = select(IdentifierRow.kind, IdentifierRow.blind_index).where(
        IdentifierRow.study_id == study_id, IdentifierRow.kind.in_(SUBJECT_KINDS)
    )
    found: dict[str, str | None] = dict(iter(session.execute(query)))
    return next((found[kind] for kind in SUBJECT_KINDS if kind in found), None)


def visit_rows(found: Trajectory) -> Iterator[list[Cell]]:
    """Write the visits as rows of a table, in the order of time."""
    for visit in found.visits:
        cells: list[Cell] = [
            visit.study_id,
            visit.run_id,
            visit.visit,
            visit.time,
            found.time_basis,
            visit.age,
            visit.brain_age,
            *_limits(visit.brain_age_interval),
            visit.gap,
            visit.sdmt,
            *_limits(visit.sdmt_interval),
            visit.sdmt_measured,
            *_said(visit),
            f"{found.bundle.name}@{found.bundle.version}",
            found.bundle.digest,
        ]
        yield [round(cell, DIGITS) if isinstance(cell, float) else cell for cell in cells]


def _limits(interval: tuple[float, float] | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else interval


def _said(visit: Visit) -> tuple[str | None, str | None, str]:
    return visit.decision, visit.code, "; ".join(visit.breaks)
