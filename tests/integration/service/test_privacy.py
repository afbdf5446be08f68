"""A study full of canaries goes through the whole service; afterwards everything that was written is searched."""

import gzip
import sqlite3

import pytest

from factories.processes import wait_until
from factories.service import refused, worker
from factories.uploads import dicom_files, named, nifti_file, tar_of, zip_of
from med3d_contract.client import Superseded

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
        return service.worker.claim_preprocess(run_id, WORKER)
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
    written = {path: path.read_bytes() for path in service.data_dir.rglob("*") if path.is_file()}
    assert any("originals" in str(path) for path in written)
    for path, data in written.items():
        readable = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        for mark in (CANARY, CANARY[:10], "8675309", "19700101"):
            assert mark.encode() not in readable, path.name
        assert CANARY not in path.name
    assert all(CANARY not in answer for answer in answers)


def test_the_encrypted_table_is_where_the_identifiers_are(service):
    ids = service.submit(("a.zip", zip_of(named(dicom_files(**HEADER))))).json()
    service.working_copy(ids["study_id"])
    with sqlite3.connect(service.data_dir / "med3d.sqlite") as database:
        kinds = {row[0] for row in database.execute("SELECT kind FROM identifiers")}
    database.close()
    assert kinds == {
        *("patient_id", "patient_name", "birth_date", "study_date", "accession_number", "study_uid", "uids"),
        *("study_id", "referring_physician"),
    }
