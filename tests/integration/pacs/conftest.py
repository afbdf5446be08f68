"""The service's processes beside real peers."""

import pytest

from rig.peers.orthanc import HOOK_SCRIPT, Orthanc
from rig.processes.gateway import AE_TITLE, HOOK_SECRET, Gateway, peers_file
from rig.processes.service import free_port


@pytest.fixture(scope="session")
def ward(tmp_path_factory):
    """An Orthanc whose hook calls the service that ``beside_ward`` starts."""
    port, dicom_port = free_port(), free_port()
    hook = {"Url": f"http://127.0.0.1:{port}/hooks/orthanc", "Peer": "ward", "Secret": "${MED3D_HOOK_SECRET}"}
    made = Orthanc(
        tmp_path_factory.mktemp("ward"),
        lua=[HOOK_SCRIPT],
        environment={"MED3D_HOOK_SECRET": HOOK_SECRET},
        Med3d=hook,
        DicomModalities={"med3d": [AE_TITLE, "127.0.0.1", dicom_port]},
    )
    made.service_port, made.listener_port = port, dicom_port
    yield made.start()
    made.close()


@pytest.fixture(scope="session")
def beside_ward(ward, tmp_path_factory):
    """The service with the ward's Orthanc as its peer by DICOMweb and by DIMSE; the fetcher runs."""
    folder = tmp_path_factory.mktemp("data")
    listening = {"MED3D_DICOM_PORT": str(ward.listener_port), "MED3D_DICOM_ALLOWED": f"{ward.ae_title}@127.0.0.1"}
    peers = {"MED3D_PORT": str(ward.service_port), "MED3D_PEERS_FILE": str(peers_file(folder, ward))}
    made = Gateway(folder, **peers, **listening).begin("fetcher", "listener")
    yield made
    made.close()


@pytest.fixture
def gateway(beside_ward):
    """The same service, for tests in which the ward has no part: it may still be pulling what others left there."""
    return beside_ward
