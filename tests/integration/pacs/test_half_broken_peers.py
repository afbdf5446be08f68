"""Peers that half work: within a bounded time one sentence that says what to do, with a code, and never a traceback."""

import re
import time
from contextlib import closing

import pytest
from pydicom import Dataset
from pynetdicom.sop_class import CTImageStorage, Verification

from med3d_service.network.peers.asking import PeerError
from med3d_service.network.peers.checking import PATIENCES, check_peers, echo
from med3d_service.network.peers.configuration import DicomwebPeer, DimsePeer, Peers, Tls
from med3d_service.network.peers.dicomweb import DicomwebSource
from med3d_service.network.peers.dimse import DimseSource
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing
from med3d_service.results.delivery.stow import StowSender
from med3d_service.results.kinds import Kind
from rig.peers import dcmtk, half_broken
from rig.peers.half_broken import answering, http, saying, scp
from rig.processes.service import free_port

# pynetdicom drops, unclosed, a socket that it could not connect, or whose peer ended the handshake.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(ssl.SSLS|socket.s)ocket:pytest.PytestUnraisableExceptionWarning"
)
PATIENT_S = 10.0
HASTY_S = 0.5
LOGIN = http(200, b"<html><form>Log in</form></html>", "Content-Type: text/html; charset=utf-8\r\n")
OTHERS = b'[{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}]'
SENTENCE = re.compile(r"[a-z][^\n]{15,250}[A-Za-z0-9]")


def dimse(port, timeout_s=PATIENT_S, **settings):
    return DimsePeer(host="127.0.0.1", port=port, ae_title="PEER", timeout_s=timeout_s, **settings)


def faults(peers, commitment=()):
    """What the check finds, as (what, code); each told in one sentence."""
    found = [one for one in check_peers(peers, None, commitment) if one.said]
    for one in found:
        assert SENTENCE.fullmatch(one.said), one.said
        assert one.code
    return [(one.what, one.code) for one in found]


def faults_of(port, timeout_s=PATIENT_S, **settings):
    return faults(Peers(dimse={"pacs": dimse(port, timeout_s, **settings)}))


def web_faults(port, timeout_s=PATIENT_S, scheme="http", **settings):
    peer = DicomwebPeer(url=f"{scheme}://127.0.0.1:{port}/dicom-web", timeout_s=timeout_s, **settings)
    return faults(Peers(dicomweb={"pacs": peer}))


@pytest.mark.parametrize(
    ("said", "code", "timeout_s"),
    [
        (half_broken.silent, "peer_silent", HASTY_S),
        (half_broken.resetting, "peer_hangs_up", PATIENT_S),
        (saying(http(400)), "peer_hangs_up", PATIENT_S),
    ],
)
def test_what_is_no_dicom_node_is_told_from_one_that_is_away(said, code, timeout_s):
    with answering(said) as port:
        assert faults_of(port, timeout_s) == [("association", code)]
        assert echo("pacs", dimse(port, timeout_s)).code == code
    assert faults_of(free_port()) == [("association", "peer_unreachable")]


@pytest.mark.parametrize(
    ("behaviour", "expected", "timeout_s"),
    [
        ({"echo": half_broken.deaf}, [("C-ECHO", "no_answer")], HASTY_S),
        ({"find": half_broken.deaf_to_searches}, [("C-FIND", "no_answer")], HASTY_S),
        ({"echo": half_broken.reset_at_once}, [("C-ECHO", "broke_off")], PATIENT_S),
        ({"echo": lambda _event: 0x0110}, [("C-ECHO", "echo_failed")], PATIENT_S),
        ({"find": half_broken.refusing}, [("C-FIND", "search_refused")], PATIENT_S),
        ({"find": half_broken.anything}, [("C-FIND", "search_ignored")], PATIENT_S),
        ({"require_called_aet": True, "ae_title": "ANOTHER"}, [("association", "peer_denied")], PATIENT_S),
        ({"classes": (CTImageStorage,)}, [("association", "nothing_offered")], PATIENT_S),
        ({"classes": (Verification,)}, [("C-FIND", "not_offered"), ("C-GET", "not_offered")], PATIENT_S),
    ],
)
def test_what_a_node_does_not_do_is_told_by_name(behaviour, expected, timeout_s):
    with scp(**behaviour) as port:
        assert faults_of(port, timeout_s) == expected


def test_commitment_that_is_asked_for_and_not_offered_is_a_fault_and_a_lack_of_retrieve_is_none():
    with scp(classes=(Verification,)) as port:
        found = list(check_peers(Peers(dimse={"pacs": dimse(port)}), None, ("pacs",)))
    assert [one.what for one in found if one.said and one.is_fault] == ["storage commitment"]


def test_a_node_without_query_is_not_one_that_does_not_answer():
    for classes in ((CTImageStorage,), (Verification,)):
        with scp(classes=classes) as port, pytest.raises(PeerError, match="peer_rejects"):
            DimseSource(dimse(port)).find_studies({"PatientID": "P-1"})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (LOGIN, "answer_is_a_page"),
        (http(302, headers="Location: https://login.example.org/\r\n"), "peer_redirects"),
        (http(401), "peer_denied"),
        (http(404), "peer_rejects"),
        (http(503), "peer_failed"),
        (http(200, b"{}"), "answer_damaged"),
        (http(200, b"[" * 200_000), "answer_damaged"),
        (http(200, OTHERS), "search_ignored"),
        (http(200, b"[]")[:-1], "answer_damaged"),
        (b"\x00\x01no HTTP\r\n\r\n", "peer_unreachable"),
    ],
)
def test_what_answers_and_is_no_dicomweb_is_told_by_what_it_says(answer, code):
    with answering(saying(answer)) as port:
        assert web_faults(port) == [("QIDO-RS", code)]


@pytest.mark.parametrize("beginning", [http(200, b" " * 1000)[:-990], b"HTTP/1.1 200 OK\r\nX: "])
def test_a_peer_that_says_a_byte_now_and_then_is_waited_for_so_long_and_no_longer(beginning):
    began = time.monotonic()
    with answering(saying(beginning, *[b" "] * 100, pause_s=0.1)) as port:
        ((what, _),) = web_faults(port, timeout_s=0.2)
    assert what == "QIDO-RS"
    assert time.monotonic() - began < 5 * PATIENCES * 0.2, "100 bytes take ten seconds"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return dcmtk.certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("shown", ["expired", "stranger"])
def test_a_certificate_that_is_not_trusted_is_told_as_such(certificates, shown):
    tls = Tls(ca_file=certificates / "ca.pem")
    with answering(
        saying(http(200, b"[]")), tls=(certificates / f"{shown}.pem", certificates / f"{shown}.key")
    ) as port:
        assert faults_of(port, tls=tls) == [("association", "peer_untrusted")]
        assert web_faults(port, scheme="https", tls=tls) == [("QIDO-RS", "peer_untrusted")]
        with closing(DimseSource(dimse(port, tls=tls))) as source, pytest.raises(PeerError, match="peer_untrusted"):
            source.find_studies({"PatientID": "P-1"})


def test_a_certificate_of_another_name_is_told_as_such(certificates):
    tls = Tls(ca_file=certificates / "ca.pem")
    with answering(
        saying(http(200, b"[]")), tls=(certificates / "listener.pem", certificates / "listener.key")
    ) as port:
        assert web_faults(port, scheme="https", tls=tls) == []
        found = check_peers(Peers(dicomweb={"pacs": DicomwebPeer(url=f"https://localhost:{port}", tls=tls)}))
        assert [one.code for one in found] == ["peer_untrusted"]
        named = dimse(port, tls=tls).model_copy(update={"host": "localhost"})
        assert faults(Peers(dimse={"pacs": named})) == [("association", "peer_untrusted")]


def test_tls_where_there_is_none_is_told_as_such(certificates):
    tls = Tls(ca_file=certificates / "ca.pem")
    with answering(saying(http(400))) as port:
        assert faults_of(port, tls=tls) == [("association", "peer_tls")]
        assert web_faults(port, scheme="https", tls=tls) == [("QIDO-RS", "peer_tls")]


def test_a_door_that_answers_with_its_page_has_taken_nothing():
    with answering(saying(LOGIN)) as port:
        sender = StowSender(DicomwebPeer(url=f"http://127.0.0.1:{port}/dicom-web"))
        with closing(sender), pytest.raises(NotDeliveredError, match="peer_failed:answer_is_a_page"):
            sender.send(Outgoing(Kind.SR, "1.2.3", b"an object"))


def test_a_fetch_that_is_answered_with_a_page_is_tried_again():
    with answering(saying(LOGIN)) as port:
        source = DicomwebSource(DicomwebPeer(url=f"http://127.0.0.1:{port}"))
        with closing(source), pytest.raises(PeerError, match="answer_is_a_page") as told:
            source.find_studies({"PatientID": "P-1"})
    assert told.value.may_pass


def test_a_search_for_series_that_never_ends_is_ended():
    with scp(find=half_broken.anything) as port, pytest.raises(PeerError, match="query_too_wide"):
        DimseSource(dimse(port), most_series=20).list_series("1.2.3")


def of_patient(patient_id):
    """A study of a patient, as a search is answered: by C-FIND, and in JSON."""
    found = Dataset()
    found.QueryRetrieveLevel, found.StudyInstanceUID, found.PatientID = "STUDY", "1.2.3", patient_id
    return found


@pytest.mark.parametrize(("patient_id", "is_taken"), [("p-1", True), ("", True), ("P-12", False)])
def test_no_study_of_another_patient_than_was_asked_for_is_fetched(patient_id, is_taken):
    found = of_patient(patient_id)
    with (
        scp(find=lambda _event: iter([(0xFF00, found), (0, None)])) as port,
        answering(saying(http(200, f"[{found.to_json()}]".encode()))) as web,
        closing(DicomwebSource(DicomwebPeer(url=f"http://127.0.0.1:{web}"))) as by_web,
    ):
        for source in (DimseSource(dimse(port)), by_web):
            if is_taken:
                assert [one.study_uid for one in source.find_studies({"PatientID": "P-1"})] == ["1.2.3"]
            else:
                with pytest.raises(PeerError, match="search_ignored") as told:
                    source.find_studies({"PatientID": "P-1"})
                assert not told.value.may_pass
