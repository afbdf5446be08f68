"""`med3d pacs check` and `echo` with real peers: each thing is OK, or a sentence that says what to do."""

import io
import json
import os
import re
import subprocess
import sys

import pytest
from pydicom import dcmread

from med3d_service.network.peers import load_peers
from med3d_service.results.delivery.recalling import OrthancRecall
from med3d_service.results.delivery.sending import NotDeliveredError
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.dicom_objects import as_file
from med3d_service.results.reports.sr import structured_report
from med3d_service.studies.own_objects import own_uid
from rig.peers.orthanc import Orthanc
from rig.peers.receivers import Storescp
from rig.processes.gateway import peers_file
from rig.processes.service import free_port
from rig.service.facts import facts


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    made = Orthanc(tmp_path_factory.mktemp("pacs")).start()
    yield made
    made.close()


def med3d(*words, peers, **environment):
    """(exit status, what it said)."""
    done = subprocess.run(
        [sys.executable, "-m", "med3d_cli", "pacs", *words], capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"MED3D_PEERS_FILE": str(peers), "COLUMNS": "300"} | environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_peer_that_does_everything_is_ok(pacs, tmp_path):
    peers = peers_file(tmp_path, pacs)
    deliveries = tmp_path / "deliveries.toml"
    text = '[[deliver]]\npeer = "ward"\nprotocol = "dimse"\nkinds = ["sr"]\ncommitment = true\n'
    deliveries.write_text(text)
    status, said = med3d("check", peers=peers, MED3D_DELIVERIES_FILE=str(deliveries))
    assert status == 0, said
    for line in (
        "dimse:ward  association: OK", "dimse:ward  C-ECHO: OK", "dimse:ward  C-FIND: OK", "dimse:ward  C-GET: OK",
        "dimse:ward  storage commitment: OK", "dimse:mover  C-MOVE: OK", "dicomweb:ward  QIDO-RS: OK",
        "dicomweb:ward  Orthanc's log of changes: OK",
    ):  # fmt: skip
        assert line in said
    assert med3d("echo", "ward", peers=peers) == (0, "dimse:ward  C-ECHO: OK\n")


def test_a_peer_without_query_and_retrieve_answers_and_is_no_fault(tmp_path):
    (tmp_path / "received").mkdir()
    receiver = Storescp(tmp_path / "received").start()
    peers = tmp_path / "peers.toml"
    peers.write_text(f'[dimse.pacs]\nhost = "127.0.0.1"\nport = {receiver.port}\nae_title = "RECEIVER"\n')
    try:
        status, said = med3d("check", "pacs", peers=peers)
    finally:
        receiver.stop()
    assert status == 0, said
    assert "C-ECHO: OK" in said
    assert "C-FIND: answers, and does not offer C-FIND" in said
    assert "does not answer" not in said


def test_what_is_wrong_is_told_with_what_to_do(pacs, tmp_path):
    peers = peers_file(tmp_path, pacs, dicom_port=free_port())
    (tmp_path / "ward.password").write_text("wrong\n")
    status, said = med3d("check", "ward", peers=peers)
    assert status == 1
    assert re.search(r"association: does not answer at 127.0.0.1.* \[peer_unreachable\]\n", said)
    assert "QIDO-RS: answers, and does not let us in" in said
    assert "log of changes: does not let us read it" in said
    status, said = med3d("check", "ward", "--json", peers=peers)
    faults = {one["what"]: one["code"] for one in json.loads(said) if one["is_fault"]}
    assert (status, faults["association"], faults["QIDO-RS"]) == (1, "peer_unreachable", "peer_denied")
    assert med3d("echo", "nobody", peers=peers)[0] == 1
    peers.write_text(peers.read_text().replace("[dimse.ward]", "[dimse.other]"))
    status, said = med3d("echo", "ward", peers=peers)
    assert (status, "`med3d pacs check ward` tries it" in said) == (1, True)
    status, said = med3d("check", peers=tmp_path / "none.toml")
    assert status != 0
    assert "cannot be read" in said


def test_what_lies_there_as_it_was_sent_is_taken_back_and_what_was_corrected_there_stays(pacs, tmp_path):
    peer = load_peers(peers_file(tmp_path, pacs)).dicomweb["ward"]
    sent = structured_report(facts())
    corrected = dcmread(io.BytesIO(sent))
    corrected.PatientID, corrected.PatientName = "P-2", "Roe^Rita"
    other = structured_report(facts(run_id="another-run"))
    for one in (sent, as_file(corrected), other):
        pacs.rest.post("/instances", content=one).raise_for_status()
    recall = OrthancRecall(peer, lambda _run_id, _kind: [sent])
    assert [recall("run", Kind.SR) for _ in range(2)] == [1, 0]
    left = [pacs.rest.get(f"/instances/{one}/simplified-tags").json() for one in pacs.rest.get("/instances").json()]
    assert {(one["PatientID"], one["SOPInstanceUID"]) for one in left} == {
        ("P-2", own_uid(facts().run_id, "sr")), ("PAT-0042", own_uid("another-run", "sr")),
    }  # fmt: skip
    (tmp_path / "ward.password").write_text("wrong\n")
    locked_out = load_peers(tmp_path / "peers.toml").dicomweb["ward"]
    with pytest.raises(NotDeliveredError, match="peer_failed:http_401"):
        OrthancRecall(locked_out, lambda _run_id, _kind: [sent])("run", Kind.SR)
