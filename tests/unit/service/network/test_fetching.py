"""A pull beside what is here already: fetched once, and again where the peer has something else by now."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from med3d_service.network.peers import Peers
from med3d_service.network.peers.asking import FoundSeries
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.network.peers.dicomweb import INSTANCES_OF_SERIES, MODALITY, DicomwebSource
from med3d_service.network.pulls.fetching import Fetcher
from med3d_service.network.pulls.line import ASKED, Origin, PullLine
from med3d_service.network.pulls.wanted import Wanted
from rig.service.arriving import Intake, saved, slices

WARD = Origin(site="default", kind="request", source="dicomweb", peer="ward")
STUDY = "1.2.3"


class Peer:
    """A peer over DICOMweb with one study; ``fetched`` is what was fetched of it, series and single instances."""

    delivers_to_listener = False

    def __init__(self, *series):
        self.series = {one[0].SeriesInstanceUID: one for one in series}
        self.fetched = []

    def list_series(self, _study_uid):
        return [FoundSeries(uid, "MR", len(held)) for uid, held in self.series.items()]

    def list_instances(self, _study_uid, series_uid):
        return [str(one.SOPInstanceUID) for one in self.series[series_uid]]

    def fetch_series(self, _study_uid, series_uid, instances):
        self.fetched.append("series")
        for one in self.series[series_uid]:
            instances.take(saved(one))
        return len(self.series[series_uid])

    def fetch_instance(self, _study_uid, series_uid, sop_uid, instances):
        self.fetched.append("instance")
        instances.take(saved(next(one for one in self.series[series_uid] if one.SOPInstanceUID == sop_uid)))

    def close(self):
        """Nothing to end."""


class Running:
    is_set = False


@pytest.fixture
def intake(tmp_path):
    made = Intake(tmp_path)
    yield made
    made.database.close()


def pulled(intake, peer):
    """The row of a pull of the study, done; and what was fetched for it."""
    peer.fetched.clear()
    line = PullLine(intake.database, intake.vault, intake.settings)
    with intake.database.write() as session:
        line.ask(session, WARD, Wanted(study_uid=STUDY), urgency=ASKED)
    fetcher = Fetcher(line, Peers(), intake.arrivals, Running(), lease_s=60.0, opened=lambda *_: peer)
    fetcher.fetch(line.claim())
    return list(peer.fetched)


class EndsAfter:
    """A process that is asked to end when it has been looked at so often."""

    def __init__(self, looks):
        self._left = looks

    @property
    def is_set(self):
        self._left -= 1
        return self._left < 0


def test_who_has_to_end_in_the_middle_gives_the_pull_back_with_its_try(intake):
    line = PullLine(intake.database, intake.vault, intake.settings)
    with intake.database.write() as session:
        line.ask(session, WARD, Wanted(study_uid=STUDY), urgency=ASKED)
    peer = Peer(slices(6))
    Fetcher(line, Peers(), intake.arrivals, EndsAfter(4), lease_s=60.0, opened=lambda *_: peer).fetch(line.claim())
    assert 0 < intake.row().instances < 6
    assert intake.row().run_id is None
    again = line.claim()
    assert again.tries == 1
    Fetcher(line, Peers(), intake.arrivals, Running(), lease_s=60.0, opened=lambda *_: peer).fetch(again)
    assert intake.row().instances == 6


def test_what_is_here_is_not_fetched_again(intake):
    peer = Peer(slices(4, series="t1"), slices(3, series="flair"))
    assert pulled(intake, peer) == ["series", "series"]
    assert pulled(intake, peer) == ["instance", "instance"]
    assert intake.row().instances == 7


def test_a_series_that_is_new_or_has_grown_is_fetched(intake):
    whole = slices(5, series="t1")
    pulled(intake, Peer(whole[:3]))
    assert pulled(intake, Peer(whole, slices(2, series="late"))) == ["series", "series"]
    assert intake.row().instances == 7


def test_a_study_whose_headers_were_changed_at_the_peer_is_fetched_again(intake):
    pulled(intake, Peer(slices(4, series="t1")))
    assert pulled(intake, Peer(slices(4, series="t1", PatientName="Corrected"))) == ["instance", "series"]


def test_a_study_at_fault_is_fetched_again(intake):
    held = slices(4, series="t1")
    held[3].PatientID = "P-2"
    peer = Peer(held)
    pulled(intake, peer)
    assert pulled(intake, peer) == ["series"]


def test_fields_are_asked_for_one_by_one():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps([]).encode())

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    source = DicomwebSource(DicomwebPeer(url=f"http://127.0.0.1:{server.server_port}/dicom-web"))
    try:
        assert source.list_series(STUDY) == []
    finally:
        source.close()
        server.shutdown()
        server.server_close()
    assert asked == [f"/dicom-web/studies/{STUDY}/series?includefield={MODALITY}&includefield={INSTANCES_OF_SERIES}"]
