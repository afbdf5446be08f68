"""The service's processes with peers around them, and studies that nobody has seen before."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import httpx
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import func, select

from med3d_service.network.pulls.tables import FollowedPeerRow, PullRow
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import open_database
from med3d_service.storage.tables import RunRow
from med3d_service.trust.audit import Action
from med3d_service.trust.audit.tables import AuditRow
from rig.peers.orthanc import PASSWORD, USER, Orthanc
from rig.processes.service import Processes
from rig.processes.waiting import wait_until
from rig.service.arriving import saved, slices
from rig.service.parts import worker

QUICK = {
    "MED3D_SWEEP_S": "0.1",
    "MED3D_REDISPATCH_S": "1",
    "MED3D_QUIET_S": "2",
    "MED3D_T1_WAIT_S": "5",
    "MED3D_PULL_FIRST_S": "0.2",
    "MED3D_PULL_LONGEST_S": "1",
}

HOOK_SECRET = "the-secret-of-a-hook-in-a-test-0123456789"
AE_TITLE = "MED3D"


def peers_file(
    folder: Path,
    orthanc: Orthanc,
    *,
    http_port: int | None = None,
    dicom_port: int | None = None,
    follow_changes_s: float = 2.0,
    timeout_s: float = 30.0,
) -> Path:
    """A peers' file with ``orthanc`` as "ward" by DICOMweb and DIMSE, and as "mover" by C-MOVE.

    The ports may be those of a proxy before it.
    """
    (folder / "ward.password").write_text(PASSWORD + "\n")
    (folder / "hook.secret").write_text(HOOK_SECRET + "\n")
    path = folder / "peers.toml"
    path.write_text(f"""
[dicomweb.ward]
url = "http://127.0.0.1:{http_port or orthanc.http_port}/dicom-web/"
user = "{USER}"
password = {{file = "ward.password"}}
timeout_s = {timeout_s}
[dicomweb.ward.orthanc]
rest_url = "{orthanc.url}"
hook_secret = {{file = "hook.secret"}}
follow_changes_s = {follow_changes_s}

[dimse.ward]
host = "127.0.0.1"
port = {dicom_port or orthanc.dicom_port}
ae_title = "{orthanc.ae_title}"
calling_ae_title = "{AE_TITLE}"
timeout_s = {timeout_s}

[dimse.mover]
host = "127.0.0.1"
port = {dicom_port or orthanc.dicom_port}
ae_title = "{orthanc.ae_title}"
calling_ae_title = "{AE_TITLE}"
retrieve = "c-move"
timeout_s = {timeout_s}
""")
    return path


def new_study(count: int = 4, **header: Any) -> list[Dataset]:
    """Data sets of one small MR series of a study of its own; its UID is ``[0].StudyInstanceUID``."""
    return slices(count, series=uuid.uuid4().hex, **({"StudyInstanceUID": generate_uid()} | header))


def files_of(datasets: Iterable[Dataset]) -> list[bytes]:
    """The files as bytes."""
    return [saved(dataset) for dataset in datasets]


class Gateway(Processes):
    """API, courier and scheduler that wait for seconds only until a study is quiet; a bundle is known to them."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        super().__init__(data_dir, **(QUICK | environment))
        self.database = open_database(self.settings)
        self._vault = IdentifierVault(load_keys(self.settings))

    def begin(self, *names: str) -> Self:
        """Start everything that takes studies in, and ``names``."""
        try:
            self.start("broker", "api", "courier", "scheduler", *names)
            self.hello(worker())
        except BaseException:
            self.close()  # nobody else has it yet
            raise
        return self

    def close(self) -> None:
        super().close()
        self.database.close()

    def arrival(self, study_uid: str) -> ArrivalRow | None:
        """What has arrived under a StudyInstanceUID; None where nothing has."""
        index = self._vault.blind_index("study_uid", study_uid)
        with self.database.read() as session:
            return session.scalars(select(ArrivalRow).where(ArrivalRow.study_index == index)).one_or_none()

    def run_of(self, study_uid: str, timeout_s: float = 120.0) -> str:
        """The id of a study's run, once it has one."""
        return wait_until(
            lambda: (found := self.arrival(study_uid)) is not None and found.run_id, "a run of the study", timeout_s
        )

    def files_of_run(self, study_uid: str) -> int:
        """Of the run that a study has now, 0 where it has none: one that was made too early is superseded."""
        arrival = self.arrival(study_uid)
        assert arrival is not None, "nothing has arrived"
        run_id = arrival.run_id
        return int(self.study(self.run(run_id)["study_id"])["files"]) if run_id else 0

    def created_at(self, run_id: str) -> float:
        """When a run was made, by the database's clock."""
        with self.database.read() as session:
            return session.scalars(select(RunRow.created_at).where(RunRow.id == run_id)).one()

    def runs(self) -> set[str]:
        """Ids of all runs."""
        return {run["run_id"] for run in self.client.get("/runs", params={"limit": 200}).json()["items"]}

    def pull(self, **wanted: object) -> httpx.Response:
        """POST /pulls by a key that may name patients; the answer."""
        return self.clinical.post("/pulls", json=wanted)

    def pull_view(self, pull_id: str) -> Any:
        return self.client.get(f"/pulls/{pull_id}").raise_for_status().json()

    def wait_for_pull(self, pull_id: str, *statuses: str, timeout_s: float = 120.0) -> Any:
        """A pull once it has one of ``statuses``, else once it is over."""
        wanted = statuses or ("done", "failed")
        return wait_until(
            lambda: (view := self.pull_view(pull_id))["status"] in wanted and view,
            f"a pull's {' or '.join(wanted)}; it is {self.pull_view(pull_id)}",
            timeout_s,
        )

    def pulls(self, **having: object) -> list[dict[str, Any]]:
        """The pulls whose view has these values, newest first."""
        items = self.client.get("/pulls", params={"limit": 200}).json()["items"]
        return [pull for pull in items if having.items() <= pull.items()]

    def pulls_of_study(self, study_uid: str) -> int:
        """How many pulls there are of a study, whoever asked for them."""
        index = self._vault.blind_index("study_uid", study_uid)
        with self.database.read() as session:
            return session.scalars(select(func.count()).select_from(PullRow).where(PullRow.study_index == index)).one()

    def noted_ends(self, name: str) -> int:
        """How often the process ``name`` has noted that it has to end."""
        ends = (AuditRow.action == Action.STOP) & (AuditRow.object_id == name)
        with self.database.read() as session:
            return session.scalars(select(func.count()).select_from(AuditRow).where(ends)).one()

    def followed(self, peer: str) -> int:
        """How far a peer's log of changes has been read."""
        with self.database.read() as session:
            row = session.get(FollowedPeerRow, peer)
            return -1 if row is None else row.last_seq
