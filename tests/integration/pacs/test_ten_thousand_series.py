"""A study of ten thousand tiny series, as some exports of parametric maps are: slow to take, and nothing worse."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rig.peers import dcmtk
from rig.processes.gateway import Gateway
from rig.processes.service import free_port
from rig.processes.waiting import wait_until
from rig.service.arriving import saved, slices

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
SERIES, SENDERS = 10_000, 8


def tiny_series(folder):
    """One instance in each series, by patching UIDs of the same length into the bytes of one."""
    [dataset] = slices(1, StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.5.100000")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.6.100000"
    file = saved(dataset)
    numbers = [str(100_000 + number).encode() for number in range(SERIES)]
    files = [file.replace(b".5.100000", b".5." + one).replace(b".6.100000", b".6." + one) for one in numbers]
    return [dcmtk.write(folder / str(part), files[part::SENDERS]) for part in range(SENDERS)]


@pytest.fixture
def service(tmp_path):
    port = free_port()
    made = Gateway(tmp_path / "data", MED3D_DICOM_PORT=str(port), MED3D_QUIET_S="10", MED3D_LEASE_S="30")
    made.dicom_port = port
    yield made.begin("listener")
    made.close()


def test_ten_thousand_tiny_series_become_one_study_with_one_run(service, tmp_path):
    folders = tiny_series(tmp_path / "in")
    senders = [dcmtk.storescu(service.dicom_port, folder) for folder in folders]
    with ThreadPoolExecutor(SENDERS) as readers:  # all at once: who is not read from stops sending, and is cut off
        told = list(readers.map(lambda sender: sender.communicate(timeout=1200)[0], senders))
    answers = [answer for one in told for answer in dcmtk.answers(one)]
    assert answers == [dcmtk.SUCCESS] * SERIES

    run = service.run(service.run_of("1.2.3.4", timeout_s=120))
    study = wait_until(
        lambda: (found := service.study(run["study_id"]))["working_copy"] in {"ready", "refused"} and found,
        "the working copy",
        timeout_s=400,
    )

    assert (study["files"], study["working_copy"], study["skipped_files"]) == (SERIES, "ready", 0)
    assert service.arrival("1.2.3.4").instances == SERIES
    assert service.client.get("/healthz").status_code == 200
