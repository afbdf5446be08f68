"""A study full of canaries goes through the whole service; afterwards everything that was written is searched."""

import base64
import gzip
import json
import os
import sqlite3
import threading
from contextlib import contextmanager

import pytest
import redis

from med3d_client.worker import Superseded
from rig.dicom.uploads import dicom_files, named, nifti_file, tar_of, zip_of
from rig.peers import dcmtk
from rig.processes.service import Processes, free_port
from rig.processes.waiting import wait_until
from rig.service.parts import refused, worker

WORKER = worker()
CANARY = "CANARYBIRD"
HEADER = {
    "PatientName": f"{CANARY}^Jane",
    "PatientID": CANARY,
    "PatientBirthDate": "19700101",
    "PatientAddress": CANARY,
    "AccessionNumber": CANARY[:10],
    "StudyDescription": CANARY,
    "SeriesDescription": f"t1 {CANARY}",
    "ProtocolName": CANARY,
    "InstitutionName": CANARY,
    "StationName": CANARY,
    "OperatorsName": CANARY,
    "ReferringPhysicianName": CANARY,
    "StudyDate": "20200101",
    "StudyID": CANARY,
    "ImageComments": CANARY,
    "ManufacturerModelName": CANARY,
    "SequenceName": CANARY,
    "StudyInstanceUID": "1.2.840.8675309.1",
}


@pytest.fixture
def service(processes):
    processes.start("broker", "api", "courier", "scheduler")
    processes.hello(WORKER)
    return processes


def claimed(service, run_id):
    try:
        return service.worker.claim_preprocess(run_id, WORKER).claims[0]
    except Superseded:
        return None


@pytest.mark.parametrize("kind", ["dicom", "nifti", "broken"])
def test_no_identifier_is_readable_in_anything_that_the_service_wrote(service, kind):
    files = {
        "dicom": (
            f"{CANARY}.zip",
            zip_of({f"{CANARY}/{name}": data for name, data in named(dicom_files(**HEADER)).items()}),
        ),
        "nifti": (f"{CANARY}.nii", nifti_file(text=CANARY.encode(), trailing=CANARY.encode())),
        "broken": (f"{CANARY}.tar", tar_of({f"{CANARY}.dcm": bytes(128) + b"DICM" + CANARY.encode() * 99})),
    }
    ids = service.submit(files[kind], subject=CANARY).json()
    service.working_copy(ids["study_id"])
    if kind != "broken":
        attempt = wait_until(lambda: claimed(service, ids["run_id"]), "the claim").attempt
        service.worker.outcome(ids["run_id"], refused(attempt))
    service.submit((f"{CANARY}.txt", CANARY.encode() * 50), subject=CANARY)
    service.client.get(f"/runs/{CANARY}")
    service.client.get("/runs", params={"cursor": CANARY, "status": CANARY})
    assert service.study(ids["study_id"])["subject"] == CANARY, (
        "the sender's own word for the subject is theirs to read"
    )
    answers = [
        service.client.get(path).text for path in (f"/runs/{ids['run_id']}", "/metrics", "/runs", "/openapi.json")
    ]

    for name in ("api", "courier", "scheduler", "broker"):
        service.stop(name)
    search_everything_in(service.data_dir)
    assert all(CANARY not in answer for answer in answers)


def search_everything_in(folder):
    """Contents, also compressed ones, and names."""
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any("originals" in str(path) for path in written)
    for path, data in written.items():
        assert_silent(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data, path.name)
        assert CANARY not in path.name


def assert_silent(data, where):
    for mark in (CANARY, CANARY[:10], "8675309", "19700101"):
        assert mark.encode() not in data, where


def everything_said_to(broker):
    """Every key of Redis with what it holds; the bodies of task messages in the clear, without their base64."""
    for key in broker.scan_iter():
        kind = broker.type(key)
        if kind == b"list":
            values = broker.lrange(key, 0, -1)
        elif kind == b"hash":
            values = [part for pair in broker.hgetall(key).items() for part in pair]
        else:
            values = broker.smembers(key) if kind == b"set" else [broker.dump(key)]
        for value in values:
            yield key + b" " + value
            if value.startswith(b'{"body"'):
                yield base64.b64decode(json.loads(value)["body"])


@contextmanager
def names_in(folder):
    """The names of all files that were ever seen in ``folder`` meanwhile."""
    names, over = set(), threading.Event()

    def look():
        while not over.wait(0.005):
            for _, folders, files in os.walk(folder):  # goes on where a folder has gone meanwhile
                names.update(folders + files)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield names
    finally:
        over.set()
        looking.join()


def test_no_identifier_of_a_study_sent_by_c_store_is_in_redis_or_a_file_or_its_name(tmp_path):
    data, temporary = tmp_path / "data", tmp_path / "tmp"
    data.mkdir()
    temporary.mkdir()
    environment = {"MED3D_DICOM_PORT": str(free_port()), "MED3D_QUIET_S": "0.5", "MED3D_SWEEP_S": "0.1"}
    service = Processes(data, TMPDIR=str(temporary), **environment)
    try:
        with names_in(tmp_path) as names:
            service.start("broker", "api", "courier", "scheduler", "listener")
            service.hello(WORKER)
            sent = dcmtk.write(tmp_path / "sent", dicom_files(4, **HEADER))
            statuses, said = dcmtk.send(environment["MED3D_DICOM_PORT"], sent)
            assert statuses == [dcmtk.SUCCESS] * 4, said
            wait_until(lambda: service.tasks("preprocess"), "the task of the study's run")
            with redis.Redis(unix_socket_path=f"{service.socket_dir}/broker.sock") as broker:
                told = list(everything_said_to(broker))
                broker.config_set("rdbcompression", "no")
                broker.save()
            run_id = service.client.get("/runs").json()["items"][0]["run_id"]
            for name in ("listener", "api", "courier", "scheduler", "broker"):
                service.stop(name)
        assert any(run_id.encode() in one for one in told), "the task's message is among what was searched"
        for one in told:
            assert_silent(one, "Redis")
        assert_silent((service.socket_dir / "dump.rdb").read_bytes(), "Redis' dump")
        search_everything_in(data)
        assert all(mark not in name for name in names for mark in (CANARY[:10], "8675309"))
        assert not [path for path in temporary.rglob("*") if path.is_file()], "nothing temporary is left"
    finally:
        service.close()


def test_the_encrypted_table_is_where_the_identifiers_are(service):
    ids = service.submit(("a.zip", zip_of(named(dicom_files(**HEADER))))).json()
    service.working_copy(ids["study_id"])
    with sqlite3.connect(service.data_dir / "med3d.sqlite") as database:
        kinds = {row[0] for row in database.execute("SELECT kind FROM identifiers")}
    database.close()
    assert kinds == {
        *("patient_id", "patient_name", "birth_date", "study_date", "accession_number", "study_uid", "uids"),
        *("study_id", "referring_physician", "study_attributes", "series_descriptions"),
    }
