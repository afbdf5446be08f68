"""STOW-RS with dicomweb-client, and with bodies that no decent client sends."""

import io
import threading

import httpx
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import ExplicitVRLittleEndian

from med3d_service.studies.own_objects import own_uid
from rig.processes.gateway import files_of, new_study
from rig.processes.waiting import wait_until

URL = "/dicomweb/studies"
BOUNDARY = "boundary-of-a-test"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
MR, CT, SR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.34"
FAILED, REFERENCED, NAMELESS = "00081198", "00081199", "0008119A"
SOP_UID, REASON = "00081155", "00081197"


def related(*files, part_type="application/dicom", end="--"):
    """A multipart/related body."""
    parts = [f"--{BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + f"--{BOUNDARY}{end}\r\n".encode()


def stow(gateway, *files, content_type=RELATED, **headers):
    return gateway.client.post(URL, content=related(*files), headers={"Content-Type": content_type} | headers)


def sops(answer, sequence):
    return [item[SOP_UID]["Value"][0] for item in answer.json().get(sequence, {"Value": []})["Value"]]


def reasons(answer, sequence):
    return [item[REASON]["Value"][0] for item in answer.json()[sequence]["Value"]]


def dicomweb(gateway):
    client = DICOMwebClient(f"{gateway.url}/dicomweb", headers={"Authorization": f"Bearer {gateway.key}"})
    client.set_chunk_size(100_000)  # sent chunked, as large stores are
    return client


def test_dicomweb_client_stores_a_study_and_it_gets_its_run(gateway):
    study = new_study(6)
    answer = dicomweb(gateway).store_instances(study)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in study
    ]
    assert "FailedSOPSequence" not in answer
    run = gateway.run(gateway.run_of(study[0].StudyInstanceUID))
    study_taken = gateway.working_copy(run["study_id"])
    assert (study_taken["files"], study_taken["working_copy"]) == (6, "ready")


def test_who_says_that_a_study_is_whole_gets_its_run_at_once(gateway):
    study = new_study(3)
    assert stow(gateway, *files_of(study)).status_code == 200
    said = {"study_uid": study[0].StudyInstanceUID}
    answer = gateway.client.post("/studies/complete", json=said)
    run = gateway.run(answer.json()["run_id"])  # no waiting: there is one
    assert gateway.study(run["study_id"])["files"] == 3
    again = gateway.client.post("/studies/complete", json=said | {"final": True})
    assert (again.status_code, again.json()) == (200, answer.json())


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"study_uid": "1.2.3.4.5.6.7.8.9"}, 404, "unknown_arrival"),
        ({"study_uid": "../1"}, 422, "invalid_request"),
        ({"study_uid": "1.2", "final": "perhaps"}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
    ],
)
def test_a_study_that_did_not_arrive_cannot_be_whole(gateway, said, status, code):
    answer = gateway.client.post("/studies/complete", json=said)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_study_may_come_in_several_requests_and_is_one(gateway):
    study = files_of(new_study(4))
    uid = pydicom.dcmread(io.BytesIO(study[0])).StudyInstanceUID
    for file in study:
        assert stow(gateway, file).status_code == 200
    assert stow(gateway, *study).status_code == 200
    wait_until(lambda: gateway.files_of_run(uid) == 4, "a run of all that has come")


def test_what_is_not_analysed_fails_by_itself_with_its_reason(gateway):
    good, computed, compressed = new_study(3)
    computed.SOPClassUID = computed.file_meta.MediaStorageSOPClassUID = CT
    files = files_of([good, computed, compressed])
    files[2] = files[2].replace(ExplicitVRLittleEndian.encode(), b"1.2.840.10008.1.2.9", 1)
    answer = stow(gateway, *files, b"no DICOM at all")
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/dicom+json"
    assert sops(answer, REFERENCED) == [good.SOPInstanceUID]
    assert sops(answer, FAILED) == [computed.SOPInstanceUID, compressed.SOPInstanceUID]
    assert reasons(answer, FAILED) == [0x0122, 0xC122]
    assert reasons(answer, NAMELESS) == [0xC000]


def test_a_store_to_a_study_takes_instances_of_that_study_alone(gateway):
    study, (stranger,) = new_study(2), new_study(1)
    address = f"{URL}/{study[0].StudyInstanceUID}"
    body, kind = related(*files_of([*study, stranger])), {"Content-Type": RELATED}
    answer = gateway.client.post(address, content=body, headers=kind)
    assert answer.status_code == 202
    assert sops(answer, REFERENCED) == [one.SOPInstanceUID for one in study]
    assert (sops(answer, FAILED), reasons(answer, FAILED)) == ([stranger.SOPInstanceUID], [0xA900])
    assert gateway.arrival(stranger.StudyInstanceUID) is None
    none = gateway.client.post(f"{URL}/1.2.x", content=body, headers=kind)
    assert (none.status_code, none.json()["code"]) == (422, "invalid_request")


def test_where_nothing_was_taken_the_answer_is_a_conflict(gateway):
    (computed,) = new_study(1)
    computed.SOPClassUID = computed.file_meta.MediaStorageSOPClassUID = CT
    answer = stow(gateway, *files_of([computed]))
    assert (answer.status_code, reasons(answer, FAILED)) == (409, [0x0122])


def test_our_own_report_that_comes_back_is_taken_and_opens_nothing(gateway):
    (report,) = new_study(1)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = SR
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = own_uid("a", "run")
    assert stow(gateway, *files_of([report])).status_code == 200
    assert gateway.arrival(report.StudyInstanceUID) is None


def test_an_instance_larger_than_what_is_held_in_memory_streams_through(gateway):
    (large,) = new_study(1, Rows=1500, Columns=1500, BitsAllocated=16, BitsStored=16, HighBit=15)
    large.PixelData = bytes(range(250)) * (2 * 1500 * 1500 // 250)
    assert stow(gateway, *files_of([large])).status_code == 200
    assert gateway.arrival(large.StudyInstanceUID).instances == 1


def test_many_senders_at_once_lose_nothing(gateway):
    studies = [new_study(8) for _ in range(6)]
    answers = []
    senders = [
        threading.Thread(target=lambda study=study: answers.append(stow(gateway, *files_of(study)).status_code))
        for study in studies
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert answers == [200] * 6
    assert [gateway.arrival(study[0].StudyInstanceUID).instances for study in studies] == [8] * 6


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (related(b"x"), "multipart/form-data; boundary=x", 415, "not_multipart_related"),
        (related(b"x"), "multipart/related", 415, "not_multipart_related"),
        (related(b"x"), 'multipart/related; type="application/dicom+json"; boundary=x', 415, "not_multipart_related"),
        (related(b"{}", part_type="application/dicom+json"), RELATED, 415, "not_multipart_related"),
        (b"", RELATED, 400, "malformed_store"),
        (b"garbage", RELATED, 400, "malformed_store"),
        (related(), RELATED, 400, "malformed_store"),
        (related(b"x", end=""), RELATED, 400, "malformed_store"),
    ],
)
def test_a_body_that_is_no_store_is_refused_by_name(gateway, body, content_type, status, code):
    answer = gateway.client.post(URL, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_answer_in_xml_only_is_not_to_be_had(gateway):
    answer = stow(gateway, *files_of(new_study(1)), Accept="application/dicom+xml")
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


def test_without_a_key_nothing_is_taken(gateway):
    study = new_study(1)
    answer = httpx.post(gateway.url + URL, content=related(*files_of(study)), headers={"Content-Type": RELATED})
    assert answer.status_code == 401
    assert gateway.arrival(study[0].StudyInstanceUID) is None


def test_a_sender_that_hangs_up_in_the_middle_loses_only_what_was_not_whole(gateway):
    study = files_of(new_study(2))
    body = related(*study)

    def half():
        yield body[: len(study[0]) + 300]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        gateway.client.post(URL, content=half(), headers={"Content-Type": RELATED})
    assert stow(gateway, *study).status_code == 200
    uid = pydicom.dcmread(io.BytesIO(study[0])).StudyInstanceUID
    assert gateway.arrival(uid).instances == 2
    assert gateway.client.get("/healthz").status_code == 200
