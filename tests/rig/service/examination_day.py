"""A day on which a study arrives bit by bit, with courier, sweep and worker played by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy import select

from med3d_contract.results import Refusal
from med3d_service.runs import transitions
from med3d_service.storage.arrival_tables import AppraisalRow
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.studies.arrivals.clock import StabilityClock
from rig.service.arriving import Intake
from rig.service.parts import LEASES, MemoryBroker, completed, preprocessed, refused, worker
from rig.service.work import BUNDLE


class ExaminationDay:
    """A study that arrives, with the courier and the worker played by hand."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.intake = Intake(folder, {"quiet_s": 0.0} | settings)
        self.broker = MemoryBroker()
        self.clock = StabilityClock(self.intake.database, self.broker, self.intake.settling)

    def sweep(self) -> None:
        self.clock.settle_due()
        self.clock.end_waits()
        self.clock.ask_for_appraisals()
        self.clock.conclude_late()

    def arrive(self, *datasets: Dataset) -> list[str]:
        outcomes = self.intake.take(*datasets)
        self.sweep()
        return outcomes

    def copy(self) -> None:
        """The courier makes the working copies that are due."""
        with self.intake.database.write() as session:
            for study in session.scalars(select(StudyRow).where(StudyRow.working_status == "waiting")):
                if study.refusal is not None:
                    study.working_status = "refused"
                    transitions.refuse_study(session, study.id, Refusal.model_validate(study.refusal))
                    continue
                study.working_status, study.working_key = "ready", "working/x.tar"
                study.working_sha256 = study.digest
        self.sweep()

    def appraise(self, **eligible: Any) -> None:
        """A worker looks at the studies it was asked for: series by number of files."""
        with self.intake.database.write() as session:
            for row in session.scalars(select(AppraisalRow).where(AppraisalRow.eligible.is_(None))):
                files = session.scalars(select(StudyRow.files).where(StudyRow.id == row.study_id)).one()
                row.eligible = eligible[f"of_{files}"]
        self.sweep()

    def work(self, *, finds_t1: bool) -> None:
        """A worker takes the one run that waits, to its end."""
        run = next(one for one in self.runs() if one.status == "queued")
        with self.intake.database.write() as session:
            attempt = transitions.claim_preprocess(session, run.id, worker(bundles=(BUNDLE,)), LEASES).attempt
            if not finds_t1:
                nothing = refused(attempt, "no_t1w_series", series=None)
                transitions.store_outcome(session, run.id, nothing, LEASES)
                return
            transitions.store_preprocessed(session, run.id, preprocessed(attempt))
            [run] = transitions.claim_predict(session, worker(bundles=(BUNDLE,)), 1, LEASES)
            transitions.store_outcome(session, run.id, completed(run.attempt), LEASES)

    def runs(self) -> Sequence[RunRow]:
        with self.intake.database.read() as session:
            return session.scalars(select(RunRow).order_by(RunRow.seq)).all()

    def statuses(self) -> list[str]:
        return [run.status for run in self.runs()]

    def studies(self) -> Sequence[StudyRow]:
        with self.intake.database.read() as session:
            return session.scalars(select(StudyRow).order_by(StudyRow.seq)).all()
