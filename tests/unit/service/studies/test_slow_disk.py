"""A disk that takes its time for each fsync: senders wait for it, and nobody else does."""

import threading
from dataclasses import replace

import anyio
import pytest
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from med3d_service.studies.uploads.recording import StudyRecorder
from med3d_service.trust.access import Role
from med3d_store.object_store import ObjectStore
from rig.dicom.uploads import CONTENT_TYPE, dicom_files, files_form, named, zip_of
from rig.service.api import open_api


class SlowDisk:
    """Stands in for fsync; ``syncing`` is set once somebody waits for it, which ``go_on`` ends."""

    def __init__(self):
        self.syncing, self.go_on = threading.Event(), threading.Event()

    def sync(self, _path):
        self.syncing.set()
        assert self.go_on.wait(60), "the reader waited for the sender's disk"


@pytest.fixture
def disk():
    return SlowDisk()


@pytest.fixture
def api(tmp_path, disk):
    made = open_api(tmp_path)
    slow = ObjectStore.open(made.settings.store, sync=disk.sync)
    service = made.service
    made.app.state.service = replace(service, store=slow, recorder=StudyRecorder(service.database, slow, service.vault))
    yield made
    made.close()


def test_a_slow_disk_holds_up_its_sender_and_no_reader(api, disk):
    sender, reader = ({"Authorization": f"Bearer {api.key(role)}"} for role in (Role.SUBMITTER, Role.VIEWER))
    study = files_form(("study.zip", zip_of(named(dicom_files()))))
    answers = {}

    async def send():
        headers = sender | {"Content-Type": CONTENT_TYPE}
        answers["study"] = await api.client.post("/studies", content=study, headers=headers, timeout=60)

    async def read_meanwhile():
        await to_thread.run_sync(disk.syncing.wait)
        answers["run"] = await api.client.get(f"/runs/{api.ids['run_id']}", headers=reader)
        answers["first"] = "study" not in answers
        disk.go_on.set()

    async def both():
        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(read_meanwhile)

    with start_blocking_portal() as portal:
        portal.call(both)
    assert answers["study"].status_code == 202
    assert answers["run"].status_code == 200
    assert answers["first"], "the reader waited for the sender's disk"
