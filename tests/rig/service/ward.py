"""A PACS' side of the service without processes: what it sends is settled at once and copied by a real courier."""

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy import select

from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.studies.arrivals.arrivals import Source
from med3d_service.studies.working_copy.courier import sandbox_of
from rig.service.arriving import SOURCE, Intake
from rig.service.couriers import courier_of
from rig.service.parts import LEASES, completed, preprocessed, worker


@dataclass
class Ward(Intake):
    """Arrivals that are settled at once, with a real courier."""

    sandbox: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.courier = courier_of(self, self.sandbox or sandbox_of(self.settings))

    def send(self, *datasets: Dataset, source: Source = SOURCE) -> list[str]:
        """What a PACS sends in one go, until its study has its run and the courier is done with it."""
        outcomes = self.take(*datasets, source=source)
        self.arrivals.mark_complete("default", datasets[0].StudyInstanceUID)
        self.copy()
        return outcomes

    def copy(self) -> None:
        """Let the courier do all that waits."""
        while self.courier.copy_next():
            pass

    def runs(self) -> list[tuple[str, Any, bool, int]]:
        """(status, code, is superseded, instances of its study) of each run, oldest first."""
        with self.database.read() as session:
            query = select(RunRow, StudyRow).join(StudyRow, StudyRow.id == RunRow.study_id).order_by(RunRow.seq)
            return [
                (run.status, run.refusal and run.refusal["code"], run.superseded_by is not None, study.files)
                for run, study in session.execute(query)
            ]

    def answer(self) -> str:
        """Let every run that waits have its answer; the id of the last."""
        with self.database.write() as session:
            waiting = session.scalars(select(RunRow.id).where(RunRow.status == "queued").order_by(RunRow.seq)).all()
        for run_id in waiting:
            with self.database.write() as session:
                run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
                transitions.store_preprocessed(session, run_id, preprocessed(run.attempt))
                (run,) = transitions.claim_predict(session, worker(), 1, LEASES)
                transitions.store_outcome(session, run_id, completed(run.attempt), LEASES)
        return waiting[-1]

    def studies_of(self, kind: str, text: str) -> list[str]:
        """Ids of the studies that are found by an identifier."""
        with self.database.read() as session:
            return list(session.scalars(self.vault.find(kind, text)))

    def study_of(self, run_id: str) -> StudyRow:
        with self.database.read() as session:
            return session.scalars(
                select(StudyRow).join(RunRow, RunRow.study_id == StudyRow.id).where(RunRow.id == run_id)
            ).one()

    def close(self) -> None:
        self.courier.sandbox.close()
        self.arrivals.close()
        self.database.close()
