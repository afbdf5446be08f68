"""Titles that we are called by: each has its senders, its site and its rules; others are rejected where that is on."""

import socket
import threading

import pytest
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.sop_class import MRImageStorage  # type: ignore[attr-defined]
from sqlalchemy import select

from med3d_contract.queues import CELERY_PRIORITY
from med3d_contract.results import Priority
from med3d_service.network.listener.negotiation import APPLICATION_CONTEXT
from med3d_service.network.listener.own_titles import load_own_titles
from med3d_service.network.listener.server import Listener
from med3d_service.network.peers import ConfigurationError, Peers
from med3d_service.network.peers.association import associated
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivedInstanceRow
from med3d_service.studies.arrivals.arrivals import Arrival, Arrived, Source
from rig.processes.waiting import wait_until
from rig.service.arriving import Intake, slices

RULES = """
[[rule]]
name = "heads"
body_part = ["HEAD"]
priority = "cohort"
[[rule]]
name = "all"
"""
TITLES = """
reject_others = true
[ae.STROKE]
site = "north"
allowed = ["CT1@127.0.0.1"]
rules_file = "rules.toml"
priority = "stat"
bundle = "another@1"
[ae.MED3D]
"""


@pytest.fixture
def titles(tmp_path):
    """Settings with the file of titles."""
    (tmp_path / "rules.toml").write_text(RULES)

    def write(text=TITLES, **more):
        (tmp_path / "titles.toml").write_text(text)
        allowed = ("SCANNER@127.0.0.1",)
        return Settings(ae_titles_file=tmp_path / "titles.toml", dicom_allowed=allowed, dicom_port=0, **more)

    return write


def test_a_title_has_what_its_table_states_and_else_what_the_settings_say(titles):
    found = load_own_titles(titles(site="main"))
    stroke, plain = found.called("STROKE"), found.called("MED3D")
    assert found.called("OTHER") is None
    assert (stroke.site, plain.site) == ("north", "main")
    assert (stroke.allowed.admits("CT1", "127.0.0.1"), stroke.allowed.admits("SCANNER", "127.0.0.1")) == (True, False)
    assert plain.allowed.admits("SCANNER", "127.0.0.1")
    heads, every = stroke.rules.rules
    assert (heads.priority, heads.bundle) == (Priority.COHORT, "another@1"), "a rule that states one keeps it"
    assert (every.priority, every.bundle) == (Priority.STAT, "another@1")
    assert plain.rules.rules[0].priority is Priority.ROUTINE


def test_without_a_file_any_title_is_ours(tmp_path):
    found = load_own_titles(Settings(data_dir=tmp_path))
    assert found.called("ANYTHING").site == "default"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("reject_others = true", "names none"),
        ('[ae.X]\nallowed = ["nobody"]', "not of the form"),
        ('[ae.X]\npriority = "soon"', "priority"),
        ('[ae.X]\nrules_file = "missing.toml"', "rules_file"),
        ('[ae.X]\nsites = "north"', "there is no such setting"),
        ('[ae."A TITLE THAT IS TOO LONG"]', "ae"),
        ("[ae", "not TOML"),
    ],
)
def test_what_is_wrong_is_told_when_a_process_starts(titles, text, why):
    with pytest.raises(ConfigurationError, match=why):
        load_own_titles(titles(text))


class Taking:
    """Arrivals that remember where instances came from."""

    def __init__(self):
        self.sources = []

    def receive_instance(self, stream, source):
        while stream.read(65536):
            pass
        self.sources.append(source)
        return Arrival(Arrived.STORED, "arrival-1")


class Noting:
    def __init__(self):
        self.noted, self.titles = [], []

    def note(self, because, _address, ae_title=""):
        self.titles.append(ae_title)
        self.noted.append(because)

    def __getattr__(self, _name):
        return lambda *_: None


@pytest.fixture
def listening(titles):
    """A listener with these titles; its arrivals, what it noted, and how to send one image."""
    taking, noting, over = Taking(), Noting(), threading.Event()
    settings = titles()
    listener = Listener(settings, Peers(), taking, None, noting, noting, load_own_titles(settings))

    def accept():
        while not over.is_set():
            listener.accept(0.05)

    thread = threading.Thread(target=accept)
    thread.start()

    def send(calling, called):
        peer = DimsePeer(host="127.0.0.1", port=listener.port, ae_title=called, calling_ae_title=calling)
        received = []
        hears = (evt.EVT_PDU_RECV, lambda event: received.append(event.pdu))
        with associated(peer, [build_context(MRImageStorage)], handlers=[hears]) as association:
            if association.is_established:
                return association.send_c_store(slices(1)[0]).Status
        (rejection,) = received
        assert isinstance(rejection, A_ASSOCIATE_RJ)
        return rejection.reason_diagnostic

    send.port = listener.port
    yield taking, noting, send
    over.set()
    thread.join()
    listener.close()


def test_each_title_lets_in_its_own_senders_and_nobody_calls_another(listening):
    taking, noting, send = listening
    assert send("CT1", "STROKE") == 0x0000
    assert send("SCANNER", "MED3D") == 0x0000
    assert [(one.site, one.called, one.peer) for one in taking.sources] == [
        ("north", "STROKE", "CT1"),
        ("default", "MED3D", "SCANNER"),
    ]
    assert send("SCANNER", "STROKE") == 3, "calling AE title not recognized (PS3.8 9.3.4)"
    assert send("SCANNER", "OTHER") == 7, "called AE title not recognized"
    wait_until(lambda: noting.noted == ["caller_unknown", "called_unknown"], "what the listener notes")


def requested(calling, called):
    """A request for an association, with these bytes as titles."""
    asked = A_ASSOCIATE()
    asked.application_context_name, asked.calling_ae_title, asked.called_ae_title = APPLICATION_CONTEXT, "X", "Y"
    (context,) = [build_context(MRImageStorage)]
    context.context_id = 1
    longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    longest.maximum_length_received, implementation.implementation_class_uid = 16384, UID("1.2.3")
    asked.presentation_context_definition_list, asked.user_information = [context], [longest, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(asked)
    written = pdu.encode()
    return written[:10] + called.ljust(16) + calling.ljust(16) + written[42:]


@pytest.mark.parametrize(
    ("calling", "called", "answer"),
    [
        (b"CT1", b"STROKE", "accepted"),
        (b"  CT1", b" STROKE ", "accepted"),
        (b"CT1\0\0\0\0\0\0\0\0\0\0\0\0\0", b"STROKE", "accepted"),
        (b"ct1", b"STROKE", "caller_unknown"),
        (b"CT\xc3\xa91", b"STROKE", "caller_unknown"),
        (b"CT\\1", b"STROKE", "caller_unknown"),
        (b"", b"STROKE", "caller_unknown"),
        (b"\0" * 16, b"STROKE", "caller_unknown"),
        (b"CT1", b"stroke", "called_unknown"),
        (b"CT1", b"STR\xd6KE", "called_unknown"),
        (b"CT1", b"", "called_unknown"),
        (b"CT1\x1b[31m", b"LINE\nBREAK", "called_unknown"),
    ],
)
def test_what_is_no_title_is_turned_away_by_name_and_never_taken_for_another(listening, calling, called, answer):
    _, noting, send = listening
    with socket.create_connection(("127.0.0.1", send.port), 10) as connection:
        connection.sendall(requested(calling, called))
        said = connection.recv(1024)
        if answer == "accepted":
            assert said[0] == 2, "A-ASSOCIATE-AC (PS3.8 9.3.3)"
            return
    assert (said[0], said[9]) == (3, {"caller_unknown": 3, "called_unknown": 7}[answer]), "A-ASSOCIATE-RJ (9.3.4)"
    wait_until(lambda: noting.noted == [answer], "what the listener notes")
    assert all(text.isascii() and text.isprintable() for text in noting.titles)


def test_an_instance_is_judged_by_the_rules_of_the_title_that_it_was_sent_to(titles, tmp_path):
    found = load_own_titles(titles())
    intake = Intake(tmp_path / "data", rules_of_titles=dict(found.rules))
    intake.take(*slices(1, BodyPartExamined="FOOT"), source=Source("dimse", "default", "CT1", "127.0.0.1", "STROKE"))
    with intake.database.read() as session:
        (taken,) = session.scalars(select(ArrivedInstanceRow)).all()
    assert (taken.rule, taken.priority, taken.bundle) == ("all", CELERY_PRIORITY[Priority.STAT], "another@1")
    intake.arrivals.close()
    intake.database.close()
