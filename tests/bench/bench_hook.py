"""From the call of an Orthanc's hook to a run that a worker works on: the whole service and a real Orthanc.

    PYTHONPATH=tests python -m bench.bench_hook [--rounds 5] [--study FOLDER]

The clock starts when the service has heard the hook, which Orthanc calls in the moment that a study is stable.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid
from sqlalchemy import select

from bench.measuring import INGEST, offer_to_write, publish, table
from med3d_service.network.pulls.tables import PullRow
from med3d_service.storage.database import Database
from med3d_service.storage.tables import AttemptRow, RunRow
from rig.peers.orthanc import HOOK_SCRIPT, Orthanc
from rig.processes.embedded import Service
from rig.processes.gateway import HOOK_SECRET, peers_file
from rig.processes.service import free_port
from rig.processes.waiting import wait_until
from rig.service.arriving import saved

STEPS = ("study fetched and durable", "run in the database", "working copy made, task sent", "run started")
AIM_S = 1.0


def anew(files, number):
    """The same images as another study: other UIDs, other patient."""
    made = []
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.StudyInstanceUID = f"{dataset.StudyInstanceUID}.{number}"[:64]
        dataset.SeriesInstanceUID = f"{dataset.SeriesInstanceUID}.{number}"[:64]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.PatientID = f"BENCH-{number}"
        made.append(saved(dataset))
    return made


def one_round(service, database, ward, files, seen):
    """Send a study to the peer; seconds from the hook to each step."""
    ward.add(*files)

    def started():
        with database.read() as session:
            for pull in session.scalars(select(PullRow).where(PullRow.run_id.is_not(None), PullRow.id.not_in(seen))):
                run = session.scalars(select(RunRow).where(RunRow.id == pull.run_id)).one()
                if run.started_at is not None:
                    return pull, run
        return None

    pull, run = wait_until(started, "the start of the run", 120)
    seen.add(pull.id)
    with database.read() as session:
        claimed = session.scalars(
            select(AttemptRow.claimed_at).where(AttemptRow.run_id == run.id).order_by(AttemptRow.number)
        ).first()
    moments = (pull.ended_at, run.created_at, run.dispatched_at or claimed, claimed)
    assert pull.origin == "hook"
    # The next round meets an idle worker, as the first one did.
    wait_until(lambda: service.client.run(run.id).status.is_terminal, "the end of the run", 300)
    return [moment - pull.created_at for moment in moments]


def main():
    given = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("MED3D_TEST_DATA", "../shared/data"))
    given.add_argument("--rounds", type=int, default=5)
    given.add_argument("--study", type=Path, default=data / "dicom" / "siemens_trio_study" / "t1_MPRAGEcr_noGRAPPA_19")
    offer_to_write(given)
    chosen = given.parse_args()
    files = sorted(path for path in chosen.study.rglob("*.dcm"))
    with tempfile.TemporaryDirectory() as folder:
        root, port = Path(folder), free_port()
        hook = {"Url": f"http://127.0.0.1:{port}/hooks/orthanc", "Peer": "ward", "Secret": "${MED3D_HOOK_SECRET}"}
        ward = Orthanc(
            root / "ward", lua=[HOOK_SCRIPT], environment={"MED3D_HOOK_SECRET": HOOK_SECRET}, Med3d=hook
        ).start()
        os.environ["MED3D_PEERS_FILE"] = str(peers_file(root, ward, follow_changes_s=60))
        service = Service(root)
        try:
            service.start(port=port)
            database = Database(f"sqlite:///{service.data_dir.root / 'med3d.sqlite'}")
            seen = set()
            rounds = [one_round(service, database, ward, anew(files, number), seen) for number in range(chosen.rounds)]
            database.close()
        finally:
            service.end()
            ward.close()
    show(rounds, len(files), write=chosen.write)


def show(rounds, instances, *, write):
    columns = list(zip(*rounds, strict=True))
    rows = [
        (step, f"{statistics.median(took):.2f}", f"{min(took):.2f} to {max(took):.2f}")
        for step, took in zip(STEPS, columns, strict=True)
    ]
    said = f"{instances} instances; {len(rounds)} rounds; seconds after the service heard the hook; aim: {AIM_S:g} s."
    publish("hook", f"{table(('until', 'median, s', 'range, s'), rows)}\n\n{said}", INGEST, write=write)


if __name__ == "__main__":
    main()
