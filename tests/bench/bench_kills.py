"""The whole gateway while its processes are killed: every acknowledged study has exactly one current result.

    PYTHONPATH=tests python -m bench.bench_kills [--rounds 50] [--seed 1] [--gateway-only]

`med3d serve` with its real worker and model beside a real Orthanc. In each round three studies (a small T1w head each)
go in at once, by C-STORE, by STOW-RS and over Orthanc's hook, while one or two processes get SIGKILL; the seed decides
which and when. Senders repeat what was not acknowledged, as a PACS does. A round is over when the three have their
answer and its SR lies in Orthanc. At the end all studies of all rounds are counted once more.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom

from bench.measuring import machine, table
from med3d_service.studies.own_objects import own_uid
from rig.faults.kills import EVERYBODY, GATEWAY, Killing, KillPlan
from rig.peers.orthanc import HOOK_SCRIPT, Orthanc
from rig.peers.senders import by_cstore, by_orthanc, by_stow
from rig.processes.embedded import Service, write_small_head
from rig.processes.gateway import HOOK_SECRET, peers_file
from rig.processes.service import free_port
from rig.processes.waiting import wait_until

WAYS = ("C-STORE", "STOW-RS", "Orthanc's hook")
WITHIN_S = 12.0
"""Kills fall into this time from the start of a round: arrival, quiet period, copy, analysis, delivery."""
ANSWER_S = 600.0
SETTINGS = {
    "MED3D_DICOM_ALLOWED": "*@127.0.0.1",
    "MED3D_QUIET_S": "2",
    "MED3D_PULL_FIRST_S": "0.2",
    "MED3D_PULL_LONGEST_S": "1",
    "MED3D_PULL_LEASE_S": "5",
    "MED3D_DELIVERY_FIRST_S": "0.2",
    "MED3D_DELIVERY_LONGEST_S": "1",
    "MED3D_DELIVERY_LEASE_S": "5",
}


@dataclass(frozen=True)
class Sent:
    """A study that was acknowledged."""

    way: str
    study_uid: str
    instances: int
    tries: int


class Gateway:
    """The service and the Orthanc beside it."""

    def __init__(self, root):
        port, self.dicom_port = free_port(), free_port()
        hook = {"Url": f"http://127.0.0.1:{port}/hooks/orthanc", "Peer": "ward", "Secret": "${MED3D_HOOK_SECRET}"}
        secret = {"MED3D_HOOK_SECRET": HOOK_SECRET}
        self.ward = Orthanc(root / "ward", lua=[HOOK_SCRIPT], environment=secret, Med3d=hook).start()
        (root / "deliveries.toml").write_text('[[deliver]]\npeer = "ward"\nprotocol = "dimse"\nkinds = ["sr"]\n')
        os.environ.update(
            SETTINGS,
            MED3D_DICOM_PORT=str(self.dicom_port),
            MED3D_PEERS_FILE=str(peers_file(root, self.ward, follow_changes_s=2)),
            MED3D_DELIVERIES_FILE=str(root / "deliveries.toml"),
        )
        self.service = Service(root)
        self.service.start(port=port)
        self.url = f"http://127.0.0.1:{port}"
        self.key = self.service.data_dir.api_key_file.read_text().strip()
        key = self.service.data_dir.clinical_key_file.read_text().strip()
        self.clinical = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def close(self):
        self.clinical.close()
        self.service.end()
        self.ward.close()

    def send(self, way, folder):
        """Send until acknowledged."""
        header = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True)
        if way == "C-STORE":
            tries = by_cstore(self.dicom_port, folder)
        elif way == "STOW-RS":
            tries = by_stow(self.url, self.key, folder)
        else:
            tries = by_orthanc(self.ward, folder)
        return Sent(way, str(header.StudyInstanceUID), len(list(folder.iterdir())), tries)

    def runs(self, study_uid):
        """(study, run) of every run of a StudyInstanceUID, superseded ones too; none while the API is down."""
        try:
            found = self.clinical.get("/studies", params={"study_uid": study_uid}).raise_for_status().json()
        except httpx.HTTPError:
            return []
        return [(study, run) for study in found["items"] for run in study["runs"]]

    def reports(self, study_uid):
        """SOP Instance UIDs of the SRs that lie beside a study in Orthanc, as often as they do."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid, "Modality": "SR"}, "Expand": True}
        found = self.ward.rest.post("/tools/find", json=query).raise_for_status().json()
        return [one["MainDicomTags"]["SOPInstanceUID"] for one in found]

    def fault(self, sent):
        """What keeps a study from having exactly one current result, delivered once; None where nothing does."""
        runs = self.runs(sent.study_uid)
        current = [(study, run) for study, run in runs if not run["superseded"]]
        if len(current) != 1:
            return f"{len(current)} current runs"
        study, run = current[0]
        if run["status"] != "completed":
            return f"its run is {run['status']}"
        if study["files"] != sent.instances:
            return f"{study['files']} of {sent.instances} instances"
        answered = {one["run_id"] for _, one in runs if one["status"] in {"completed", "refused"}}
        if sorted(self.reports(sent.study_uid)) != sorted(own_uid(run_id, "sr") for run_id in answered):
            return "not each answer lies once in the PACS"
        return None

    def answered_twice(self, sent):
        """Runs of a study that ended more than once."""
        ends = Counter()
        for _, run in self.runs(sent.study_uid):
            events = [event["status"] for event in self.service.events(run["run_id"])]
            ends[run["run_id"]] = sum(status in {"completed", "refused", "failed"} for status in events)
        return [run_id for run_id, count in ends.items() if count > 1]


def one_round(gateway, folders, kills):
    """Send three studies while processes are killed, and wait for their answers; the studies and the seconds."""
    sent, failed, began = [], [], time.monotonic()

    def send(way, folder):
        try:
            sent.append(gateway.send(way, folder))
        except Exception as error:  # noqa: BLE001 - told by the round
            failed.append(error)

    senders = [threading.Thread(target=send, args=pair) for pair in zip(WAYS, folders, strict=True)]
    with Killing(gateway.service, kills):
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        if failed:
            raise failed[0]
    for study in sent:
        wait_until(
            lambda study=study: gateway.fault(study) is None,
            f"the one answer of the study that came by {study.way} (now: {gateway.fault(study)})",
            ANSWER_S,
            every_s=0.2,
        )
    return sent, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gateway-only", action="store_true", help=f"kill only {', '.join(GATEWAY)}")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it, with all logs")
    asked = parser.parse_args()
    plan = KillPlan(asked.seed, GATEWAY if asked.gateway_only else EVERYBODY, within_s=WITHIN_S)
    with tempfile.TemporaryDirectory(prefix="med3d-kills-") as scratch:
        root = asked.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        gateway = Gateway(root)
        try:
            counted = rounds(gateway, plan, asked.rounds, root / "heads")
        finally:
            gateway.close()
    lost, doubled = show(*counted, asked)
    sys.exit(bool(lost or doubled))


def rounds(gateway, plan, count, heads):
    """All rounds, then one look at everything that was sent: studies, kills, seconds, and what is wrong with which."""
    sent, killed, took_s = [], Counter(), []
    for number in range(count):
        kills = plan.next_round()
        folders = [
            write_small_head(heads / f"{number}-{place}", number * len(WAYS) + place) for place in range(len(WAYS))
        ]
        told = ", ".join(f"{kill.victim} at {kill.after_s:.1f} s" for kill in kills)
        print(f"round {number + 1}: {told}", end=": ", flush=True)
        studies, seconds = one_round(gateway, folders, kills)
        print(f"{seconds:.0f} s, sent {sum(study.tries for study in studies)} times", flush=True)
        sent += studies
        took_s.append(seconds)
        killed.update(kill.victim for kill in kills)
    faults = {study: fault for study in sent if (fault := gateway.fault(study)) is not None}
    doubled = [study for study in sent if gateway.answered_twice(study)]
    return sent, killed, took_s, faults, doubled


def show(sent, killed, took_s, faults, doubled, asked):
    print(f"\n{machine()}\n")
    print(f"seed {asked.seed}, {asked.rounds} rounds in {sum(took_s) / 60:.0f} minutes, {len(sent)} studies\n")
    rows = [(way, sum(study.way == way for study in sent), sum(s.tries for s in sent if s.way == way)) for way in WAYS]
    print(table(("way in", "studies", "times sent"), rows))
    print()
    print(table(("killed", "times"), sorted(killed.items())))
    lost = {study: fault for study, fault in faults.items() if study not in doubled}
    print(f"\nlost: {len(lost)}, doubled: {len(doubled)}")
    for study, fault in faults.items():
        print(f"  by {study.way}: {fault}")
    return lost, doubled


if __name__ == "__main__":
    main()
