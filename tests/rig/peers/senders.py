"""The three ways of a department into the gateway, each of them as stubborn as a PACS: it sends until all is acknowledged."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from rig.peers import dcmtk
from rig.peers.orthanc import Orthanc

PAUSE_S = 0.3
PATIENCE_S = 240.0


class NotAcknowledgedError(AssertionError):
    """Something was not acknowledged within PATIENCE_S."""


def until_acknowledged(send: Callable[[], bool], what: str) -> int:
    """Call ``send`` until it says yes; how often it took."""
    until, tries = time.monotonic() + PATIENCE_S, 0
    while time.monotonic() < until:
        tries += 1
        if send():
            return tries
        time.sleep(PAUSE_S)
    raise NotAcknowledgedError(f"{what} was not acknowledged within {PATIENCE_S:g} s")


def by_cstore(port: int, folder: Path) -> int:
    """dcmtk's storescu: acknowledged where each instance was answered with success."""
    files = list(folder.iterdir())
    return until_acknowledged(
        lambda: dcmtk.send(port, folder)[0] == [dcmtk.SUCCESS] * len(files), "a study sent by C-STORE"
    )


def by_stow(url: str, key: str, folder: Path) -> int:
    """dicomweb-client: acknowledged where the answer refers to each instance."""
    datasets = [dcmread(path) for path in sorted(folder.iterdir())]

    def send() -> bool:
        client = DICOMwebClient(f"{url}/dicomweb", headers={"Authorization": f"Bearer {key}"})
        try:
            answer = client.store_instances(datasets)
        except OSError:  # what requests raises, refused connections and HTTP errors alike
            return False
        return len(answer.get("ReferencedSOPSequence", [])) == len(datasets)

    return until_acknowledged(send, "a study sent by STOW-RS")


def by_orthanc(orthanc: Orthanc, folder: Path) -> int:
    """storescu to Orthanc, whose hook or log of changes does the rest: acknowledged where Orthanc has it."""

    def send() -> bool:
        try:
            orthanc.add(*(path.read_bytes() for path in sorted(folder.iterdir())))
        except httpx.HTTPError:
            return False
        return True

    return until_acknowledged(send, "a study sent to Orthanc")
