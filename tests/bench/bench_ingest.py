"""Ingest over C-STORE: our listener, Orthanc and dcmtk's storescp, one after the other in each round, by dcmtk's storescu.

    PYTHONPATH=tests python -m bench.bench_ingest [--rounds 5] [--studies 1000] [--data FOLDER]

First the MPRAGE study (176 instances) from one and from eight senders at once (each with a study of its own), with
dcmtk's defaults and with TCP_NODELAY set for senders and peers; then many small studies from eight senders, with the
memory of our listener while they come. What is lost or doubled fails the run.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pydicom
from sqlalchemy import func, select

from bench.measuring import INGEST, offer_to_write, publish, spread, table
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from rig.peers import dcmtk
from rig.peers.orthanc import Orthanc
from rig.processes.listening import Listening
from rig.processes.service import free_port
from rig.processes.waiting import wait_until
from rig.service.arriving import saved, slices

SENDERS = 8
INSTANCES_OF_A_SMALL_STUDY = 20
DURABILITY = {
    "ours": "fsync of each file, database commit with fsync, then success",
    "ours, index as Orthanc's": "fsync of each file, commit without",
    "Orthanc": "fsync of each file (SyncStorageArea), index commit without (as strace shows)",
    "storescp": "none",
}


class Ours:
    def __init__(self, folder):
        self.listening = Listening(folder)
        self.port = self.listening.dicom_port

    def start(self):
        self.listening.begin()

    def kept(self):
        return self.count(ArrivedInstanceRow)

    def count(self, rows):
        database = self.listening.open_database()
        with database.read() as session:
            found = session.scalar(select(func.count()).select_from(rows))
        database.close()
        return found

    def process(self):
        return psutil.Process(self.listening.running["listener"].pid)

    def close(self):
        self.listening.close()


class OursLikeOrthanc(Ours):
    """Ours with a database that is committed as Orthanc's index is: without an fsync for each commit."""

    def __init__(self, folder):
        self.listening = Listening(folder, MED3D_DATABASE_URL=f"sqlite:///{folder}/med3d.sqlite?synchronous=normal")
        self.port = self.listening.dicom_port


class Theirs:
    """Orthanc, with its storage fsync'ed as it comes configured."""

    def __init__(self, folder):
        self.orthanc = Orthanc(folder, SyncStorageArea=True)
        self.port = self.orthanc.dicom_port

    def start(self):
        self.orthanc.start()

    def kept(self):
        return self.orthanc.rest.get("/statistics").json()["CountInstances"]

    def close(self):
        self.orthanc.close()


class StoreScp:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self._process = None

    def start(self):
        self.folder.mkdir(parents=True)
        command = [dcmtk.BINARIES / "storescp", "--fork", "-od", self.folder, "-uf", "+xa", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: dcmtk.echo(self.port)[0], "storescp's start")

    def kept(self):
        return sum(1 for _ in self.folder.iterdir())

    def close(self):
        self._process.kill()
        self._process.wait()


PEERS = {"ours": Ours, "ours, index as Orthanc's": OursLikeOrthanc, "Orthanc": Theirs, "storescp": StoreScp}


@contextmanager
def peer(name, folder):
    """One of PEERS, started on an empty folder and gone afterwards."""
    made = PEERS[name](folder)
    made.start()
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def copies_of(study, folder, count):
    """``count`` studies with the same images and UIDs of their own, each a folder."""
    made = []
    for copy in range(count):
        files = []
        for number, path in enumerate(sorted(study.glob("*.dcm"))):
            dataset = pydicom.dcmread(path)
            dataset.StudyInstanceUID = f"1.2.826.0.1.3680043.10.{copy + 1}"
            dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.10.{copy + 1}.1"
            dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.10.{copy + 1}.1.{number + 1}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            files.append(saved(dataset))
        made.append(dcmtk.write(folder / str(copy), files))
    return made


def small_studies(folder, count):
    """Folders of studies with a few small slices, UIDs patched into the bytes, which is quick."""
    template = [
        saved(one)
        for one in slices(
            INSTANCES_OF_A_SMALL_STUDY,
            series="SMALL",
            StudyInstanceUID="1.2.3.1000000",
            SeriesInstanceUID="1.2.4.1000000",
            PatientID="P1000000",
        )
    ]
    original = [str(pydicom.dcmread(pydicom.filebase.DicomBytesIO(file)).SOPInstanceUID) for file in template]
    made = []
    for number in range(count):
        files = []
        for place, file in enumerate(template):
            uid = f"1.2.5.{1000000 + number}.{place:d}".encode()
            uid += b"." + b"1" * (len(original[place]) - len(uid) - 1)
            changed = file.replace(original[place].encode(), uid)
            for kind in (b"1.2.3.", b"1.2.4.", b"P"):
                changed = changed.replace(kind + b"1000000", kind + str(1000000 + number).encode())
            files.append(changed)
        made.append(dcmtk.write(folder / f"{number:06d}", files))
    return made


def send_at_once(port, folders):
    """One storescu for each folder; seconds until all have ended. Raises where one of them failed."""
    began = time.perf_counter()
    senders = [
        subprocess.Popen(
            [dcmtk.BINARIES / "storescu", "-aet", "SCANNER", "-aec", "MED3D", "+sd", "127.0.0.1", str(port), folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    codes = [sender.wait() for sender in senders]
    assert not any(codes), f"storescu ended with {codes}"
    return time.perf_counter() - began


def send_one_after_the_other(port, folders):
    for folder in folders:
        send_at_once(port, [folder])


def mprage(copies, rounds, scratch):
    """Instances per second by (nodelay, senders, peer)."""
    rates = {}
    instances = len(list(copies[0].iterdir()))
    for number in range(rounds):
        order = list(PEERS)[number % len(PEERS) :] + list(PEERS)[: number % len(PEERS)]
        for nodelay in (False, True):
            with no_delay(nodelay):
                for senders in (1, SENDERS):
                    for name in order:
                        with peer(name, scratch / f"{name}-data") as there:
                            took_s = send_at_once(there.port, copies[:senders])
                            assert there.kept() == instances * senders, f"{name} keeps {there.kept()}"
                        rates.setdefault((nodelay, senders, name), []).append(instances * senders / took_s)
                        print(
                            f"round {number + 1}: {name}, {senders} senders, TCP_NODELAY {nodelay}: {rates[nodelay, senders, name][-1]:.0f}/s",
                            flush=True,
                        )
    return rates


@contextmanager
def no_delay(wanted):
    """dcmtk (and Orthanc, which is made with it) takes Nagle's algorithm off where this variable says so."""
    os.environ.pop("TCP_NODELAY", None)
    if wanted:
        os.environ["TCP_NODELAY"] = "1"
    yield
    os.environ.pop("TCP_NODELAY", None)


def many_studies(folders, scratch):
    """Rate, what is kept, and the listener's resident memory (MiB) at each tenth of the way."""
    expected = len(folders) * INSTANCES_OF_A_SMALL_STUDY
    with peer("ours", scratch / "many-data") as ours:
        memory = []
        began = time.perf_counter()
        senders = [
            threading.Thread(target=send_one_after_the_other, args=(ours.port, folders[part::SENDERS]))
            for part in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders):
            if ours.kept() >= expected * (len(memory) + 1) / 10:
                memory.append(ours.process().memory_info().rss / 2**20)
            time.sleep(0.2)
        took_s = time.perf_counter() - began
        studies, kept = ours.count(ArrivalRow), ours.kept()
        assert (studies, kept) == (len(folders), expected), f"{studies} studies, {kept} instances"
        assert len(ours.listening.read_all()) == expected
    return expected / took_s, memory


def report(rates, rounds, *, write):
    rows = []
    for nodelay in (False, True):
        for senders in (1, SENDERS):
            found = {name: rates[nodelay, senders, name] for name in PEERS}
            ratios = [
                statistics.median(found[name]) / statistics.median(found["Orthanc"]) for name in PEERS if "ours" in name
            ]
            settings = "TCP_NODELAY everywhere" if nodelay else "defaults"
            rows.append(
                [settings, senders, *(spread(found[name]) for name in PEERS), *(f"{ratio:.2f}" for ratio in ratios)]
            )
    text = table(["network settings", "senders", *PEERS, "ours / Orthanc", "at the same durability"], rows)
    said = f"Instances per second, median (lowest to highest) of {rounds} rounds."
    promised = "Before success is said: " + "; ".join(f"{name}: {what}" for name, what in DURABILITY.items()) + "."
    publish("ingest", f"{text}\n\n{said} {promised}", INGEST, write=write)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MED3D_TEST_DATA", "../shared/data")))
    offer_to_write(parser)
    asked = parser.parse_args()
    study = asked.data / "dicom" / "siemens_trio_study" / "t1_MPRAGEcr_noGRAPPA_19"
    with tempfile.TemporaryDirectory(prefix="med3d-bench-") as scratch:
        folder = Path(scratch)
        if asked.rounds:
            report(
                mprage(copies_of(study, folder / "copies", SENDERS), asked.rounds, folder),
                asked.rounds,
                write=asked.write,
            )
        if asked.studies:
            rate, memory = many_studies(small_studies(folder / "small", asked.studies), folder)
            text = (
                f"{asked.studies} studies of {INSTANCES_OF_A_SMALL_STUDY} instances, {SENDERS} senders, an association for "
                f"each study: {rate:.0f} instances/s; none lost, none doubled, each read back and its seal checked. "
                f"Resident memory of the listener at each tenth of the way, MiB: {', '.join(f'{one:.0f}' for one in memory)}."
            )
            publish("many studies", text, INGEST, write=asked.write)


if __name__ == "__main__":
    main()
