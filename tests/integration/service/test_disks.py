"""Disks that are full or read-only: a clear answer while it lasts, recovery without a restart, and no study harmed."""

import pytest

from med3d_service.custody.ledger import Ledger
from med3d_store.object_store import ObjectDamagedError
from rig.dicom.uploads import dicom_files, named, zip_of
from rig.faults.disks import fill, make_read_only, small_disk
from rig.processes.service import Processes
from rig.processes.waiting import wait_until
from rig.service.answers import claimed
from rig.service.parts import worker

QUICK = {"MED3D_SWEEP_S": "0.1", "MED3D_REDISPATCH_S": "1", "MED3D_RESERVE_BYTES": "0", "MED3D_READY_FRESH_S": "0"}


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 16) as mounted:
        if not mounted:
            pytest.skip("mounting a small disk takes root, on a machine that lets one mount")
        yield folder


@pytest.fixture
def started(tmp_path):
    made = []

    def start(data_dir, **environment):
        service = Processes(data_dir, **(QUICK | environment))
        made.append(service)
        service.start("broker", "api", "courier", "scheduler")
        service.hello(worker())
        return service

    yield start
    for service in made:
        service.close()


def send(service, name):
    return service.submit(("study.zip", zip_of(named(dicom_files(series=name)))))


def readiness(service):
    return service.client.get("/readyz").json()


def assert_whole(service):
    database = service.open_database()
    assert Ledger(service.settings, database, service.store).check(digests=True).balances
    database.close()


def test_a_full_disk_is_507_not_ready_and_over_as_soon_as_there_is_room(started, disk):
    service = started(disk / "data")
    first = send(service, "before").json()
    service.working_copy(first["study_id"])
    ballast = disk / "ballast"
    wait_until(lambda: fill(ballast) or not readiness(service)["store"]["ok"], "a disk on which nobody makes room")
    refused = send(service, "while full")
    assert (refused.status_code, refused.json()["code"]) == (507, "disk_full")
    assert readiness(service)["ready"] is False
    ballast.unlink()
    taken = wait_until(lambda: (answer := send(service, "while full")).status_code == 202 and answer, "a sender's luck")
    assert service.working_copy(taken.json()["study_id"])["working_copy"] == "ready"
    assert readiness(service)["store"]["ok"] is True
    assert_whole(service)


def test_a_disk_that_fills_up_while_a_study_is_copied_does_not_make_the_study_unreadable(started, disk, tmp_path):
    spool = disk / "spool"
    spool.mkdir()
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "spool").symlink_to(spool)  # only what is written on the way is short of room
    service = started(data_dir)
    service.stop("courier")
    study_id = send(service, "large").json()["study_id"]
    fill(spool / "ballast")
    service.start("courier")
    wait_until(lambda: "DiskFaultError" in (data_dir / "courier.log").read_text(), "the courier's complaint")
    assert service.study(study_id)["working_copy"] in {"waiting", "copying"}
    (spool / "ballast").unlink()
    assert service.working_copy(study_id)["working_copy"] == "ready"


def test_a_read_only_store_is_503_not_ready_and_over_as_soon_as_it_can_be_written(started, disk, tmp_path):
    service = started(tmp_path / "data", MED3D_STORE_URL=f"file://{disk}/store")
    make_read_only(disk)
    refused = send(service, "read-only")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert readiness(service)["store"]["ok"] is False
    assert list(service.settings.spool_dir.iterdir()) == []
    make_read_only(disk, read_only=False)
    taken = send(service, "read-only").json()
    assert service.working_copy(taken["study_id"])["working_copy"] == "ready"
    assert readiness(service)["store"]["ok"] is True
    assert_whole(service)


def test_an_object_that_was_altered_on_disk_is_never_worked_on(started, tmp_path):
    service = started(tmp_path / "data")
    ids = send(service, "altered").json()
    service.working_copy(ids["study_id"])
    claim = wait_until(lambda: claimed(service, ids["run_id"]), "the claim")
    service.store.put(claim.working_copy_key, b"other bytes")
    with pytest.raises(ObjectDamagedError):
        service.store.fetch(claim.working_copy_key, tmp_path / "copy", claim.working_copy_sha256)
    assert not (tmp_path / "copy").exists()
