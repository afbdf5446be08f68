"""ADT messages over MLLP: taken from allowed senders, within bounds, acknowledged by the standard, applied at once."""

import socket
import threading

import pytest
from hl7apy.parser import parse_message
from sqlalchemy import select

from med3d_service.network.hl7.messages import MessageRefused, read_header, read_updates
from med3d_service.network.hl7.server import Hl7Server
from med3d_service.processes.hl7 import corrector
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.library import ReportLibrary, ReportUnavailableError
from med3d_service.settings import Settings
from med3d_service.storage.tables import RunRow
from med3d_service.studies.patient_updates import KnownAs
from med3d_service.trust.audit.tables import AuditRow
from rig.service.arriving import slices
from rig.service.ward import Ward

JANE = {"PatientID": "P-1", "PatientName": "Doe^Jane", "PatientBirthDate": "19700102", "PatientSex": "F"}


def adt(event, *segments, sender="HIS", character_set="UNICODE UTF-8", control_id="M-1"):
    head = f"MSH|^~\\&|{sender}|HOSP|MED3D|MRI|20260105||ADT^{event}|{control_id}|P|2.5||||||{character_set}"
    return "\r".join((head, f"EVN|{event[:3]}|20260105", *segments, "")).encode()


A08 = adt("A08", "PID|1||P-1^^^HOSP^MR||Müller^Änne^^^Dr.||19610203|F")
A40 = adt("A40^ADT_A39", "PID|1||P-9^^^HOSP^MR||Roe^Rita", "MRG|P-1^^^HOSP^MR")


def test_an_update_is_read_as_dicom_would_have_it():
    (update,) = read_updates(read_header(A08), A08)
    assert update.sought == (KnownAs("P-1", "HOSP"),)
    assert (update.becomes, update.name, update.birth_date, update.sex) == (
        (),
        "Müller^Änne^^Dr.",
        "19610203",
        "F",
    )


def test_a_merge_names_who_stays_and_who_goes_and_may_hold_several_patients():
    two = adt("A40", "PID|1||N1^^^H", "MRG|O1^^^H", "PID|2||N2^^^H||Doe\\S\\Roe^X", "MRG|O2^^^H~O3")
    first, second = read_updates(read_header(two), two)
    assert (first.sought, first.becomes, first.name) == ((KnownAs("O1", "H"),), (KnownAs("N1", "H"),), None)
    assert second.sought == (KnownAs("O2", "H"), KnownAs("O3"))
    assert second.name == "Doe Roe^X"


@pytest.mark.parametrize(
    ("message", "acknowledgment", "condition"),
    [
        (adt("A08"), "AE", "100"),
        (adt("A08", "PID|1||"), "AE", "101"),
        (adt("A40", "PID|1||P-1"), "AE", "101"),
        (adt("A40", "MRG|P-1", "PID|1||P-2"), "AE", "100"),
        (adt("A01", "PID|1||P-1"), "AR", "201"),
        (adt("A08", "PID|1||P-1").replace(b"ADT^", b"ORU^"), "AR", "200"),
        (adt("A08", "PID|1||P-1||Ä", character_set="ASCII"), "AE", "102"),
        (adt("A08", "PID|1||P-1", character_set="GB 18030-2000"), "AE", "102"),
        (adt("A08", "PID|1||P-1", control_id=""), "AE", "101"),
    ],
)
def test_what_cannot_be_taken_is_said_by_table_0357_and_quotes_nobody(message, acknowledgment, condition):
    with pytest.raises(MessageRefused) as refused:
        read_updates(read_header(message), message)
    assert (refused.value.acknowledgment, refused.value.condition) == (acknowledgment, condition)
    assert "P-1" not in refused.value.sentence


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path)
    yield made
    made.close()


class Sender:
    """A hospital information system with one connection."""

    def __init__(self, settings, apply, **given):
        given = {"hl7_port": 0, "hl7_allowed": ("HIS@127.0.0.1",), "hl7_message_bytes": 4096} | given
        self._server = Hl7Server(Settings(data_dir=settings.data_dir, **given), apply)
        self._connection = socket.create_connection(("127.0.0.1", self._server.port), 10)
        self._server.accept(10)

    def say(self, message, frame=b"\x0b%b\x1c\r"):
        """(code, control id, condition) of the acknowledgment; None where the connection ends."""
        self._connection.sendall(frame % message)
        said = b""
        while not said.endswith(b"\x1c\r"):
            try:
                piece = self._connection.recv(4096)
            except ConnectionError:
                piece = b""
            if not piece:
                return None
            said += piece
        answer = parse_message(said[1:-2].decode("latin-1"), find_groups=False)
        condition = [one.err_3.to_er7() for one in answer.children if one.name == "ERR"]
        assert answer.msh.msh_5.to_er7() in {"HIS", "OTHER", ""}
        return answer.msa.msa_1.to_er7(), answer.msa.msa_2.to_er7(), *condition

    def close(self):
        self._connection.close()
        self._server.close()


@pytest.fixture
def sender(ward):
    made = Sender(ward.settings, corrector(ward))
    yield made
    made.close()


def test_an_updated_patient_gets_answers_anew_and_the_old_ones_are_withdrawn(ward, sender):
    ward.send(*slices(4, **JANE))
    old = ward.answer()
    assert sender.say(A08) == ("AA", "M-1")
    assert sender.say(A08) == ("AA", "M-1")  # sent twice, it changes nothing more
    with ward.database.read() as session:
        before, after = session.scalars(select(RunRow).order_by(RunRow.seq)).all()
        assert (before.id, before.superseded_by, before.withdrawn_at is not None) == (old, after.id, True)
        assert after.status == "preprocessed"  # its tensor is there; birth date and sex come in at prediction
        study = ward.study_of(old)
        assert ward.vault.read(session, study.id, "patient_name") == "Müller^Änne^^Dr."
        assert ward.vault.read(session, study.id, "former_patient_name") == "Doe^Jane"
        assert [row.actor for row in session.scalars(select(AuditRow)) if row.action == "change"] == ["HIS"]
    with pytest.raises(ReportUnavailableError, match="identity_corrected"):
        ReportLibrary(ward).content(old, Kind.SR)


def test_merged_the_study_is_the_surviving_patients(ward, sender):
    ward.send(*slices(4, **JANE))
    ward.answer()
    assert sender.say(A40) == ("AA", "M-1")
    assert ward.studies_of("patient_id", "P-1") == []
    assert len(ward.studies_of("patient_id", "P-9")) == 1
    ward.send(*slices(5, series="late", **JANE | {"PatientID": "P-9"}))  # the PACS knows of the merge as well
    assert ward.row().fault is None


def test_an_identifier_of_another_authority_is_another_patient(ward, sender):
    ward.send(*slices(4, **JANE, IssuerOfPatientID="ELSEWHERE"))
    ward.answer()
    assert sender.say(A40) == ("AA", "M-1")
    assert len(ward.runs()) == 1


def test_strangers_garbage_and_long_messages_change_nothing(ward, sender):
    assert sender.say(adt("A08", "PID|1||P-1", sender="OTHER")) == ("AR", "M-1", "207")
    assert sender.say(b"GET / HTTP/1.1") == ("AR", "", "100")
    assert sender.say(A08 + b"Z" * 5000) is None


def test_a_fault_of_ours_is_told_so_that_the_sender_keeps_the_message(ward):
    def broken(_updates, _sender, _address):
        raise OSError("the disk is gone")

    sender = Sender(ward.settings, broken)
    try:
        assert sender.say(A08) == ("AE", "M-1", "207")
    finally:
        sender.close()


def test_every_address_of_ipv6_takes_ipv4_and_sees_it_as_such(ward):
    seen = []
    sender = Sender(ward.settings, lambda _updates, _sender, address: seen.append(address) or 0, hl7_host="::")
    try:
        assert sender.say(A08)[0] == "AA"
    finally:
        sender.close()
    assert seen == ["127.0.0.1"]


def test_an_address_that_is_not_listed_is_not_listened_to(ward):
    sender = Sender(ward.settings, corrector(ward), hl7_allowed=("HIS@10.0.0.1",))
    try:
        assert sender.say(A08) is None
    finally:
        sender.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "hl7"]
