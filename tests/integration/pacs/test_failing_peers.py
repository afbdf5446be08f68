"""Peers that fail half way, fall silent or are killed, and a fetcher that is killed: a study comes whole or not at all."""

import signal
import time

import pytest
from sqlalchemy import update

from med3d_service.network.pulls.tables import PullRow
from rig.peers.orthanc import USER, Orthanc
from rig.peers.proxies import CuttingProxy
from rig.processes.gateway import Gateway, files_of, new_study, peers_file
from rig.processes.waiting import wait_until

SOURCES = ("dicomweb", "dimse")
SLICES = 12
QUIET_S = 2.0
HASTY = """
[dicomweb.hasty]
url = "http://127.0.0.1:{lines[dicomweb].port}/dicom-web/"
user = "{user}"
password = {{file = "ward.password"}}
timeout_s = 2
[dimse.hasty]
host = "127.0.0.1"
port = {lines[dimse].port}
ae_title = "{orthanc.ae_title}"
timeout_s = 2
"""
"""The same Orthanc, from which an answer is not waited for as long as a busy machine may take."""


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """An Orthanc behind a network that can be cut."""
    orthanc = Orthanc(tmp_path_factory.mktemp("far")).start()
    orthanc.lines = {"dicomweb": CuttingProxy(orthanc.http_port), "dimse": CuttingProxy(orthanc.dicom_port)}
    yield orthanc
    for line in orthanc.lines.values():
        line.close()
    orthanc.close()


@pytest.fixture(scope="module")
def beside_far(far, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    ports = {"http_port": far.lines["dicomweb"].port, "dicom_port": far.lines["dimse"].port}
    peers = peers_file(folder, far, follow_changes_s=3600, timeout_s=60.0, **ports)
    with peers.open("a") as file:
        file.write(HASTY.format(orthanc=far, lines=far.lines, user=USER))
    made = Gateway(folder, MED3D_PEERS_FILE=str(peers), MED3D_PULL_LEASE_S="60").begin("fetcher")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def whole_lines(far):
    """What one test does to the lines must not be the next one's trouble."""
    yield
    for line in far.lines.values():
        line.cuts = 0
        line.release()


def large_study(rows=256):
    """SLICES slices of half a KiB for each row; what is to be lost with a peer must be more than the lines hold."""
    study = new_study(SLICES, Rows=rows, Columns=256, BitsAllocated=16, BitsStored=16, HighBit=15)
    for number, one in enumerate(study):
        one.PixelData = bytes([number]) * (2 * 256 * rows)
    return study


def pull(service, source, study, peer="ward"):
    taken = service.pull(source=source, peer=peer, study_uid=study[0].StudyInstanceUID)
    return taken.json()["pull_id"]


def the_only_run_is_whole(service, study, pull_id):
    done = service.wait_for_pull(pull_id)
    assert (done["status"], done["studies"][0]["instances"]) == ("done", SLICES)
    run_id = service.run_of(study[0].StudyInstanceUID)
    shown = service.study(service.run(run_id)["study_id"])
    assert (shown["files"], [run["run_id"] for run in shown["runs"]]) == (SLICES, [run_id])
    return done


@pytest.mark.parametrize("source", SOURCES)
def test_a_line_that_is_cut_half_way_is_tried_again_and_the_study_comes_whole(beside_far, far, source):
    study = large_study()
    far.add(*files_of(study))
    line = far.lines[source]
    line.after_bytes, line.cuts = 700_000, 2
    done = the_only_run_is_whole(beside_far, study, pull(beside_far, source, study))
    assert (done["tries"], line.cuts) == (3, 0)


@pytest.mark.parametrize("source", SOURCES)
def test_half_a_study_is_no_study_however_long_the_peer_is_away(beside_far, far, source):
    study = large_study()
    far.add(*files_of(study))
    line = far.lines[source]
    line.after_bytes, line.cuts = 700_000, 1_000_000
    pull_id = pull(beside_far, source, study)
    came = lambda: (found := beside_far.arrival(study[0].StudyInstanceUID)) is not None and found.instances  # noqa: E731
    wait_until(came, "the first instances")
    wait_until(lambda: beside_far.pull_view(pull_id)["tries"] >= 5, "some tries")
    quiet = lambda: time.time() - beside_far.arrival(study[0].StudyInstanceUID).last_at > QUIET_S  # noqa: E731
    wait_until(quiet, "a silence longer than the quiet period: each try may bring an instance more")
    found = beside_far.arrival(study[0].StudyInstanceUID)
    assert (found.status, found.run_id) == ("receiving", None)
    line.cuts = 0
    the_only_run_is_whole(beside_far, study, pull_id)


@pytest.mark.parametrize("source", SOURCES)
def test_a_peer_that_falls_silent_is_given_up_for_now_and_asked_again(beside_far, far, source):
    study = large_study()
    far.add(*files_of(study))
    line = far.lines[source]
    line.hold(700_000)
    pull_id = pull(beside_far, source, study, "hasty")
    line.wait_until_holding()
    wait_until(lambda: beside_far.pull_view(pull_id)["fault"], "the fault")
    assert beside_far.pull_view(pull_id)["fault"]["code"] == "peer_unreachable"
    line.release()
    the_only_run_is_whole(beside_far, study, pull_id)


@pytest.mark.parametrize("source", SOURCES)
def test_a_peer_that_is_killed_while_it_sends_is_asked_again_when_it_is_back(beside_far, far, source):
    study = large_study(rows=4096)
    far.add(*files_of(study))
    line = far.lines[source]
    line.hold(300_000)
    pull_id = pull(beside_far, source, study)
    line.wait_until_holding()
    far.kill()
    try:
        line.release()
        wait_until(lambda: beside_far.pull_view(pull_id)["fault"], "the fault")
    finally:
        far.start()
    the_only_run_is_whole(beside_far, study, pull_id)


@pytest.mark.parametrize("source", SOURCES)
def test_a_fetcher_that_is_killed_half_way_is_followed_by_another(beside_far, far, source):
    study = large_study()
    far.add(*files_of(study))
    line = far.lines[source]
    line.hold(700_000)
    pull_id = pull(beside_far, source, study)
    line.wait_until_holding()
    beside_far.stop("fetcher", signal.SIGKILL)
    line.release()
    end_its_lease(beside_far, pull_id)
    beside_far.start("fetcher")
    assert the_only_run_is_whole(beside_far, study, pull_id)["tries"] == 2


def end_its_lease(service, pull_id):
    """Let the minute pass in which whoever has a pull is waited for."""
    with service.database.write() as session:
        session.execute(update(PullRow).where(PullRow.id == pull_id).values(lease_until=PullRow.lease_until - 60))


def test_a_fetcher_that_is_asked_to_end_gives_its_pull_back_at_once(beside_far, far):
    study = large_study()
    far.add(*files_of(study))
    line = far.lines["dicomweb"]
    line.hold(300_000)
    pull_id = pull(beside_far, "dicomweb", study)
    line.wait_until_holding()
    ends = beside_far.noted_ends("fetcher")
    beside_far.running["fetcher"].send_signal(signal.SIGTERM)
    wait_until(lambda: beside_far.noted_ends("fetcher") > ends, "the news that it has to end")
    line.release()
    assert beside_far.stop("fetcher") == 0
    assert beside_far.pull_view(pull_id)["status"] == "waiting"
    beside_far.start("fetcher")
    assert the_only_run_is_whole(beside_far, study, pull_id)["tries"] == 1
