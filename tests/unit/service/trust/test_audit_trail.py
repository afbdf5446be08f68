"""The audit trail: whatever is done to a row, the proof fails; what is written goes out as ATNA over syslog."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from med3d_service.storage.database import Database
from med3d_service.storage.keys import derive
from med3d_service.trust.audit import Action, Actor, AuditEvent, AuditTrail, Outcome, TrailBrokenError
from med3d_service.trust.audit.atna import audit_message
from med3d_service.trust.audit.forwarding import forward
from med3d_service.trust.audit.syslog import frame
from med3d_service.trust.audit.trail import entries
from rig.service.parts import migrated

SITE_KEY = "6b" * 32
KEY = derive(bytes.fromhex(SITE_KEY), "audit")
WHO = Actor("key", "0a1b2c3d", "viewer", "192.0.2.7")
COLUMNS = ("at", "actor_kind", "actor", "role", "address", "action", "outcome", "object_kind", "object_id", "detail", "mac")  # fmt: skip


def event(number=0, action=Action.READ, **more):
    return AuditEvent(WHO, action, object_kind="run", object_id=f"run-{number}", detail={"status": 200}, **more)


@pytest.fixture
def database(tmp_path):
    opened = Database(migrated(tmp_path, site_key=SITE_KEY).database)
    yield opened
    opened.close()


@pytest.fixture
def trail(database):
    return AuditTrail(database, KEY)


def change(database, statement, **values):
    with database.write() as session:
        session.execute(text(statement), values)


def refill(database, count):
    """A trail of ``count`` entries in place of whatever there was."""
    change(database, "DELETE FROM audit_trail")
    change(
        database,
        "UPDATE audit_head SET first_seq = 1, first_mac = '', last_seq = 0, last_mac = '', seal = '', counter = 0",
    )
    trail = AuditTrail(database, KEY)
    with database.write() as session:
        trail.append(session, *(event(number) for number in range(count)))
    return trail


def test_an_empty_trail_and_a_long_one_prove_themselves(database, trail):
    assert trail.verify().entries == 0
    for number in range(5):
        trail.record(event(number))
    end = trail.verify()
    assert (end.seq, end.entries) == (5, 5)
    trail.record(event())
    assert trail.verify(end).seq == 6, "what was noted is still there"


@st.composite
def tampering(draw):
    """One SQL statement that changes what the trail of ``count`` entries says, and its values."""
    count = draw(st.integers(2, 12))
    seq, other = draw(st.integers(1, count)), draw(st.integers(1, count))
    kinds = ["change", "delete", "delete_from", "insert", "swap", "head", "renumber"]
    match draw(st.sampled_from(kinds)):
        case "change":
            column = draw(st.sampled_from(COLUMNS))
            done = [(f"UPDATE audit_trail SET {column} = {'at + 1' if column == 'at' else column + ' || :x'} WHERE seq = :seq", {"seq": seq} | ({} if column == "at" else {"x": draw(st.sampled_from("a0 "))}))]  # fmt: skip
        case "delete":
            done = [("DELETE FROM audit_trail WHERE seq = :seq", {"seq": seq})]
        case "delete_from":
            done = [("DELETE FROM audit_trail WHERE seq >= :seq", {"seq": seq})]
        case "insert":
            names = ", ".join(COLUMNS)
            done = [(f"INSERT INTO audit_trail (seq, {names}) SELECT :new, {names} FROM audit_trail WHERE seq = :seq", {"new": count + 1, "seq": seq})]  # fmt: skip
        case "swap":
            other = seq % count + 1
            done = [
                ("UPDATE audit_trail SET seq = -1 WHERE seq = :a", {"a": seq}),
                ("UPDATE audit_trail SET seq = :a WHERE seq = :b", {"a": seq, "b": other}),
                ("UPDATE audit_trail SET seq = :b WHERE seq = -1", {"b": other}),
            ]
        case "head":
            column = draw(st.sampled_from(["first_seq", "last_seq"]))
            done = [(f"UPDATE audit_head SET {column} = {column} + 1", {})]
        case "renumber":
            done = [("UPDATE audit_trail SET seq = seq + 100 WHERE seq >= :seq", {"seq": seq})]
    return count, done


def test_tampering_with_any_row_is_found(database):
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(tampering())
    def found(what):
        count, statements = what
        trail = refill(database, count)
        assert trail.verify().entries == count
        for statement, values in statements:
            change(database, statement, **values)
        with pytest.raises(TrailBrokenError):
            trail.verify()

    found()


def test_a_trail_that_was_written_anew_without_the_key_is_found(database, trail):
    for number in range(3):
        trail.record(event(number))
    refill_key = AuditTrail(database, b"another key")
    change(database, "DELETE FROM audit_trail")
    change(database, "UPDATE audit_head SET last_seq = 0, last_mac = '', seal = '', counter = 0")
    refill_key.record(event())
    with pytest.raises(TrailBrokenError, match="head was changed"):
        trail.verify()


def test_an_older_state_that_was_put_back_lacks_what_was_noted(database, trail):
    trail.record(event())
    with database.read() as session:
        head = session.execute(text("SELECT last_seq, last_mac, seal FROM audit_head")).one()
    trail.record(event(2, Action.ERASE))
    noted = trail.verify()
    change(database, "DELETE FROM audit_trail WHERE seq = 2")
    change(database, "UPDATE audit_head SET last_seq = :a, last_mac = :b, seal = :c", a=head[0], b=head[1], c=head[2])
    trail.verify()  # by itself it cannot tell
    with pytest.raises(TrailBrokenError, match="older state"):
        trail.verify(noted)


def test_what_is_undone_leaves_no_entry_and_no_gap(database, trail):
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012 - undone after the entry
        trail.append(session, event())
        raise RuntimeError
    trail.record(event())
    assert trail.verify().seq == 1


def test_many_at_once_share_transactions_and_none_is_lost(database, trail):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: trail.record(event(number)), range(200)))
    assert trail.verify().entries == 200
    with database.read() as session:
        assert len({row.object_id for row in entries(session)}) == 200


def test_old_entries_may_go_and_the_rest_goes_on_proving_itself(database, trail):
    for number in range(4):
        trail.record(event(number))
    change(database, "UPDATE audit_head SET seal = seal")  # nothing changed
    with database.read() as session:
        third = list(entries(session))[2].at
    with database.write() as session:
        assert trail.drop_before(session, third) == 2
    trail.record(event(9))
    end = trail.verify()
    assert (end.seq, end.entries) == (5, 3)
    with database.write() as session:
        assert trail.drop_before(session, third) == 0
        assert trail.drop_before(session, float(10**12)) == 3
    assert trail.verify().entries == 0
    change(database, "UPDATE audit_head SET first_seq = first_seq - 1")
    with pytest.raises(TrailBrokenError):
        trail.verify()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_trail SET at = 0 WHERE seq < 4",
        "UPDATE audit_trail SET actor = 'another', at = 0 WHERE seq = 3",
        "DELETE FROM audit_trail WHERE seq = 2",
        "UPDATE audit_head SET first_seq = 2",
    ],
)
def test_entries_that_were_made_to_look_old_go_with_no_retention(database, trail, statement):
    for number in range(4):
        trail.record(event(number))
    with database.read() as session:
        last = list(entries(session))[-1].at
    change(database, statement)
    with pytest.raises(TrailBrokenError), database.write() as session:
        trail.drop_before(session, last)
    with pytest.raises(TrailBrokenError):
        trail.verify()


def test_what_no_database_could_hold_is_written_so_that_all_can(database, trail):
    strange = Actor("token", "Zoë\0\ud800" + "x" * 500, address="fe80::1")
    trail.record(AuditEvent(strange, Action.READ, object_id="\0"))
    assert trail.verify().entries == 1


# --- as others read it ---


def row_of(database, trail, made):
    trail.record(made)
    with database.read() as session:
        return list(entries(session))[-1]


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_its_dicom_audit_message(database, trail, action):
    row = row_of(database, trail, event(1, action, outcome=Outcome.DENIED))
    message = ET.fromstring(audit_message(row, source="med3d@host", site="north"))
    assert [child.tag for child in message] == [
        "EventIdentification", "ActiveParticipant", "ActiveParticipant", "AuditSourceIdentification",
        "ParticipantObjectIdentification",
    ]  # fmt: skip
    said = message.find("EventIdentification")
    assert said.get("EventOutcomeIndicator") == "8"
    assert said.get("EventActionCode") in set("CRUDE")
    assert said.find("EventID").get("codeSystemName") == "DCM"
    assert message.find("ActiveParticipant").get("NetworkAccessPointID") == "192.0.2.7"
    assert message.find("ParticipantObjectIdentification").get("ParticipantObjectID") == "run-1"
    for coded in message.iter():
        if coded.get("csd-code") is not None:
            assert coded.get("codeSystemName") and coded.get("originalText"), coded.tag  # noqa: PT018


def test_a_syslog_message_has_the_header_of_rfc_5424():
    head, xml = frame(b"<AuditMessage/>", 1767603600.25, "host.example.org").split(b"\xef\xbb\xbf")
    words = head.decode().split(" ")
    assert words[:4] == ["<85>1", "2026-01-05T09:00:00.250Z", "host.example.org", "med3d"]
    assert words[5:7] == ["DICOM+RFC3881", "-"]
    assert xml == b"<AuditMessage/>"


class Receiver:
    """A syslog receiver over TCP, which reads octet-counted frames until the sender closes."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self.messages = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        connection, _ = self._listening.accept()
        data = b"".join(iter(lambda: connection.recv(65536), b""))
        while data:
            length, _, rest = data.partition(b" ")
            self.messages.append(rest[: int(length)])
            data = rest[int(length) :]
        connection.close()

    def received(self):
        self._thread.join(10)
        self._listening.close()
        return self.messages


def test_entries_go_to_the_syslog_receiver_once_and_in_order(database, trail, tmp_path):
    receiver = Receiver()
    given_ = migrated(tmp_path, site_key=SITE_KEY, audit_syslog_url=receiver.url)
    for number in range(3):
        trail.record(event(number))
    assert forward(database, given_, trail) == 3
    assert forward(database, given_, trail) == 0
    received = receiver.received()
    assert [f"run-{number}".encode() in message for number, message in enumerate(received)] == [True] * 3
    trail.record(event())
    with pytest.raises(OSError):
        forward(database, given_, trail)  # it is gone
    second = Receiver()
    assert forward(database, migrated(tmp_path, site_key=SITE_KEY, audit_syslog_url=second.url), trail) == 1
    assert len(second.received()) == 1
