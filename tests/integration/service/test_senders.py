"""The ways to a destination, each against the real thing, as it should be and as it fails."""

import gc
import json
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom import AE, evt

from med3d_service.network.peers.configuration import DicomwebPeer, DimsePeer
from med3d_service.results.delivery.dimse import DimseSender
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError
from med3d_service.results.delivery.stow import StowSender
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.sr import structured_report
from med3d_service.studies.own_objects import own_uid
from rig.peers.dcmtk import certificates
from rig.peers.receivers import STORESCP, MoodyPeer, Storescp
from rig.processes.service import free_port
from rig.processes.waiting import wait_until
from rig.service.facts import facts

# pynetdicom forgets the socket of a connection that failed; the collector closes it, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FACTS = facts()


@pytest.fixture(autouse=True)
def _forgotten_sockets_are_collected_here():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def report():
    return Outgoing(Kind.SR, own_uid(FACTS.run_id, "sr"), structured_report(FACTS))


def dimse(port, **changes):
    fields = {"host": "127.0.0.1", "port": port, "ae_title": "RECEIVER", "timeout_s": 5}
    return DimseSender(DimsePeer.model_validate(fields | changes))


def test_an_object_goes_over_tls_with_our_certificate_and_to_nobody_else(tmp_path, report):
    files = certificates(tmp_path / "certificates")
    (tmp_path / "received").mkdir()
    port = free_port()
    with subprocess.Popen(
        [
            *(STORESCP, "--aetitle", "RECEIVER", "--output-directory", tmp_path / "received"),
            *("+tls", files / "listener.key", files / "listener.pem", "+cf", files / "ca.pem", str(port)),
        ],
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_until(lambda: listens(port), "the start of storescp")
            ours = {"certificate_file": str(files / "client.pem"), "key_file": str(files / "client.key")}
            dimse(port, tls={"ca_file": str(files / "ca.pem")} | ours).send(report)
            (file,) = (tmp_path / "received").iterdir()
            assert file.name.endswith(report.object_uid)
            with pytest.raises(NotDeliveredError, match="peer_away"):
                dimse(port, tls={"ca_file": str(files / "ca.pem")}).send(report)  # it wants to know who we are
            with pytest.raises(NotDeliveredError, match="peer_away"):
                dimse(port).send(report)  # and speaks nothing else
            with pytest.raises(NotDeliveredError, match="peer_away"):
                dimse(port, tls={"ca_file": str(files / "stranger.pem")} | ours).send(report)  # nor we to strangers
        finally:
            process.kill()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0xB000, None), (0xB006, None), (0xB007, None), (0xA700, NotDeliveredError), (0x0110, NotDeliveredError),
     (0xA900, RefusedByPeerError), (0xC123, RefusedByPeerError), (0x0122, RefusedByPeerError)],
)  # fmt: skip
def test_what_a_peers_status_means(report, status, expected):
    peer = MoodyPeer(status)
    try:
        if expected is None:
            dimse(peer.port).send(report)
        else:
            with pytest.raises(expected, match=f"0x{status:04X}") as caught:
                dimse(peer.port).send(report)
            assert type(caught.value) is expected
    finally:
        peer.stop()


def serving(handlers, contexts):
    entity = AE(ae_title="RECEIVER")
    entity.require_called_aet = True
    for context in contexts:
        entity.add_supported_context(context)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    return server, server.server_address[1]


def test_a_peer_that_breaks_off_in_the_middle_has_nothing(report):
    server, port = serving([(evt.EVT_C_STORE, lambda event: event.assoc.abort() or 0)], [kind_of(report)])
    try:
        with pytest.raises(NotDeliveredError, match="peer_away"):
            dimse(port).send(report)
    finally:
        server.shutdown()
        server.server_close()


def kind_of(outgoing):
    return "1.2.840.10008.5.1.4.1.1.88.34" if outgoing.kind is Kind.SR else MRImageStorage


def test_a_peer_that_does_not_take_this_kind_of_object_is_not_asked_again(report):
    server, port = serving([], [MRImageStorage])
    try:
        with pytest.raises(RefusedByPeerError, match="sop_class_not_accepted"):
            dimse(port).send(report)
        with pytest.raises(NotDeliveredError, match="peer_rejected_association"):
            dimse(port, ae_title="SOMEBODY").send(report)
    finally:
        server.shutdown()
        server.server_close()


def test_a_peer_that_is_not_there_is_away(report):
    with pytest.raises(NotDeliveredError, match="peer_away:no_association"):
        dimse(free_port()).send(report)
    peer = DicomwebPeer.model_validate({"url": f"http://127.0.0.1:{free_port()}/dicom-web"})
    with pytest.raises(NotDeliveredError, match="peer_away:ConnectError"):
        StowSender(peer).send(report)


def test_dcmtk_keeps_what_it_is_sent_byte_for_byte_in_meaning(tmp_path, report):
    (tmp_path / "received").mkdir()
    receiver = Storescp(tmp_path / "received").start()
    try:
        dimse(receiver.port).send(report)
        dimse(receiver.port).send(report)
        (dataset,) = receiver.received()
        assert dataset.SOPInstanceUID == report.object_uid
        assert str(dataset.PatientName) == "Müller^Änne"
    finally:
        receiver.stop()


def failed(reason):
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, {}, None),
        (202, {}, None),
        (409, failed(0x0111), None),
        (202, failed(0xA700), (NotDeliveredError, "peer_failed:0xA700")),
        (409, failed(0xA900), (RefusedByPeerError, "refused:0xA900")),
        (409, failed(0xC122), (RefusedByPeerError, "refused:0xC122")),
        (401, None, (NotDeliveredError, "peer_failed:http_401")),
        (503, None, (NotDeliveredError, "peer_failed:http_503")),
        (302, None, (NotDeliveredError, "peer_failed:http_302")),
        (415, None, (RefusedByPeerError, "refused:http_415")),
        (200, ["no", "answer", "of", "a", "PACS"], None),
    ],
)
def test_what_a_stow_answer_means(report, status, answer, expected):
    with stow_server(status, answer) as (url, got):
        sender = StowSender(DicomwebPeer.model_validate({"url": url}))
        if expected is None:
            sender.send(report)
        else:
            with pytest.raises(expected[0], match=expected[1]) as caught:
                sender.send(report)
            assert type(caught.value) is expected[0]
        ((path, body, content_type),) = got
        assert path == "/dicom-web/studies"
        assert report.content in body
        assert content_type.startswith('multipart/related; type="application/dicom"; boundary=')


class stow_server:  # noqa: N801 - reads as the context that it is
    """A DICOMweb server with one answer."""

    def __init__(self, status, answer):
        got = self.got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                got.append(
                    (self.path, self.rfile.read(int(self.headers["Content-Length"])), self.headers["Content-Type"])
                )
                body = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/dicom-web", self.got

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
