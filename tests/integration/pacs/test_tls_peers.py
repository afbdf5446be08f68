"""TLS towards a real Orthanc that takes nothing else: pulls, moves and deliveries."""

import gc
import socket
import threading
import warnings
from contextlib import closing

import pytest
from pydicom.uid import generate_uid
from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from med3d_service.network.peers import load_peers
from med3d_service.network.peers.association import associated
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.results.delivery.dimse import DimseSender
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing
from med3d_service.results.delivery.stow import StowSender
from med3d_service.results.kinds import Kind
from rig.peers import dcmtk
from rig.peers.orthanc import PASSWORD, USER, Orthanc
from rig.peers.proxies import HttpsFront
from rig.processes.gateway import Gateway, files_of, new_study
from rig.processes.service import free_port
from rig.processes.waiting import wait_until
from rig.service.arriving import saved

# pynetdicom drops, unclosed, a socket whose peer ended the handshake.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
PEERS = """
[dicomweb.{name}]
url = "https://127.0.0.1:{orthanc.front.port}/dicom-web"
user = "{user}"
password = {{file = "ward.password"}}
tls = {tls}
timeout_s = 5
[dimse.{name}]
host = "127.0.0.1"
port = {orthanc.dicom_port}
ae_title = "ORTHANC"
tls = {tls}
timeout_s = 5
[dimse.{name}-mover]
host = "127.0.0.1"
port = {orthanc.dicom_port}
ae_title = "ORTHANC"
retrieve = "c-move"
tls = {tls}
timeout_s = 5
"""
SHOWN = '{{ca_file = "{authority}.pem", certificate_file = "{name}.pem", key_file = "{name}.key"}}'


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return dcmtk.certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(certificates, tmp_path_factory):
    orthanc = Orthanc(tmp_path_factory.mktemp("guarded"), certificates=certificates).start()
    orthanc.front = HttpsFront(orthanc.http_port, certificates)
    yield orthanc
    orthanc.front.close()
    orthanc.close()


@pytest.fixture(scope="module")
def peers(guarded, certificates):
    """A file in which "ward" is the Orthanc, and "impostor" the same for who shows another certificate, "stranger" the same
    for who trusts another authority."""
    (certificates / "ward.password").write_text(PASSWORD)
    tables = [
        PEERS.format(name=name, orthanc=guarded, user=USER, tls=SHOWN.format(name=shown, authority=authority))
        for name, shown, authority in (
            ("ward", "client", "ca"),
            ("impostor", "stranger", "ca"),
            ("stranger", "client", "stranger"),
        )
    ]
    path = certificates / "peers.toml"
    path.write_text("".join(tables))
    return path


@pytest.fixture(scope="module")
def service(guarded, peers, certificates, tmp_path_factory):
    """The service, whose listener takes TLS alone as well."""
    port = free_port()
    made = Gateway(
        tmp_path_factory.mktemp("data"),
        MED3D_PEERS_FILE=str(peers),
        MED3D_DICOM_PORT=str(port),
        MED3D_DICOM_ALLOWED="ORTHANC@127.0.0.1",
        MED3D_DICOM_TLS_CERT=str(certificates / "listener.pem"),
        MED3D_DICOM_TLS_KEY=str(certificates / "listener.key"),
        MED3D_DICOM_TLS_CLIENT_CA=str(certificates / "ca.pem"),
    ).begin("fetcher", "listener")
    guarded.set_modality("med3d", "MED3D", port, UseDicomTls=True)
    yield made
    made.close()


@pytest.mark.parametrize(("source", "peer"), [("dicomweb", "ward"), ("dimse", "ward"), ("dimse", "ward-mover")])
def test_a_study_is_fetched_over_tls(service, guarded, source, peer):
    study = new_study(4)
    guarded.add(*files_of(study))
    taken = service.pull(source=source, peer=peer, study_uid=study[0].StudyInstanceUID)
    pull = service.wait_for_pull(taken.json()["pull_id"])
    assert (pull["status"], pull["studies"][0]["instances"]) == ("done", 4)
    assert service.arrival(study[0].StudyInstanceUID).instances == 4


@pytest.mark.parametrize("peer", ["impostor", "stranger"])
@pytest.mark.parametrize("source", ["dicomweb", "dimse"])
def test_where_one_side_does_not_trust_the_other_nothing_is_fetched(service, source, peer):
    taken = service.pull(source=source, peer=peer, study_uid=generate_uid())
    fault = wait_until(lambda: service.pull_view(taken.json()["pull_id"])["fault"], "the fault")
    # Of who does not trust us we hear at most that it hung up.
    assert fault["code"] in ({"peer_untrusted"} if peer == "stranger" else {"peer_unreachable", "peer_tls"})


@pytest.mark.parametrize("nobody", ["impostor", "stranger"])
def test_a_refused_association_keeps_no_socket_open(peers, nobody):
    with associated(load_peers(peers).dimse[nobody], [build_context(Verification)]) as association:
        assert not association.is_established
    left = association.dul.socket.socket
    assert left is None or left.fileno() == -1


def test_a_peer_that_hangs_up_at_once_leaves_no_socket_to_the_garbage_collector():
    gc.collect()  # what earlier tests left is not this one's
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up():
            listening.accept()[0].close()

        ended = threading.Thread(target=hang_up)
        ended.start()
        peer = DimsePeer(host="127.0.0.1", port=listening.getsockname()[1], ae_title="GONE", timeout_s=5)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ResourceWarning)
            with associated(peer, [build_context(Verification)]) as association:
                assert not association.is_established
            ended.join()
            del association
            gc.collect()
    assert [str(one.message) for one in told] == []


@pytest.mark.parametrize(("way", "table"), [(DimseSender, "dimse"), (StowSender, "dicomweb")])
def test_an_object_is_delivered_over_tls_and_by_nobody_else(peers, guarded, way, table):
    (image,) = new_study(1)
    outgoing = Outgoing(Kind.SC, image.SOPInstanceUID, saved(image))
    configured = getattr(load_peers(peers), table)
    for nobody in ("impostor", "stranger"):
        with closing(way(configured[nobody])) as sender, pytest.raises(NotDeliveredError) as refused:
            sender.send(outgoing)
        assert refused.value.code.startswith("peer_")
    assert image.StudyInstanceUID not in guarded.studies()
    with closing(way(configured["ward"])) as sender:
        sender.send(outgoing)
    assert image.StudyInstanceUID in guarded.studies()
