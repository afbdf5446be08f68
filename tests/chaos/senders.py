"""Those who send studies and do not give up: by POST, and instance by instance over DICOM."""

import threading
import time
import uuid
from dataclasses import dataclass
from itertools import count

import httpx
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import build_context

from med3d_service.network.peers.association import associated
from med3d_service.network.peers.configuration import DimsePeer
from rig.dicom.uploads import named, zip_of
from rig.processes.quick_worker import spell
from rig.service.arriving import saved, slices

ACKNOWLEDGED = {200, 202}
NUMBERS = count(1000)
PATIENCE_S = 120.0
IMAGES = 3


@dataclass(frozen=True)
class Sent:
    """A study that was acknowledged, and the number that it spells."""

    number: int
    way: str
    study_uid: str
    tries: int


class Senders:
    """Some studies, each sent by a thread of its own until it is acknowledged."""

    def __init__(self, cluster, posted, stored):
        self._cluster = cluster
        self.acknowledged, self.failed = [], []
        ways = [self._post] * posted + [self._store] * stored
        self.numbers = [next(NUMBERS) for _ in ways]
        self._threads = [
            threading.Thread(target=self._send, args=(way, number))
            for way, number in zip(ways, self.numbers, strict=True)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()

    def wait(self):
        for thread in self._threads:
            thread.join()

    def _send(self, way, number):
        try:
            self.acknowledged.append(way(number))
        except Exception as error:  # noqa: BLE001 - told in the round's report
            self.failed.append(f"{number}: {error!r}")

    def _post(self, number):
        study_uid = generate_uid()
        datasets = images(number, study_uid)
        body = zip_of(named([saved(dataset) for dataset in datasets]))
        for tries in _until_late():
            try:
                answer = self._cluster.client.post("/studies", files=[("files", ("study.zip", body))])
            except httpx.TransportError:
                continue
            if answer.status_code in ACKNOWLEDGED:
                return Sent(number, "post", study_uid, tries)
            assert answer.status_code >= 500, answer.text
        raise TimeoutError("POST was not acknowledged")

    def _store(self, number):
        study_uid = generate_uid()
        left = images(number, study_uid)
        peer = DimsePeer(
            host="127.0.0.1",
            port=self._cluster.proxies["sender-listener"].port,
            ae_title="MED3D",
            calling_ae_title="SENDER",
            timeout_s=3,
        )
        for tries in _until_late():
            with associated(peer, [build_context(MRImageStorage, ExplicitVRLittleEndian)]) as association:
                left = [one for one in left if not _stored(association, one)]
            if not left:
                return Sent(number, "dimse", study_uid, tries)
        raise TimeoutError("C-STORE was not acknowledged")


def images(number, study_uid):
    """The data sets of a small study that spells ``number``."""
    made = slices(IMAGES, series=uuid.uuid4().hex, StudyInstanceUID=study_uid, PatientID=f"P-{number}")
    return [spell(dataset, number) for dataset in made]


def _stored(association, dataset):
    if not association.is_established:
        return False
    try:
        status = association.send_c_store(dataset)
    except (RuntimeError, ValueError):
        return False
    return "Status" in status and status.Status == 0x0000


def _until_late():
    """Count tries until the sender's patience is over."""
    late = time.monotonic() + PATIENCE_S
    for tries in count(1):
        if time.monotonic() > late:
            return
        yield tries
        time.sleep(0.3)
