"""ADT messages over MLLP: taken from allowed senders, within bounds, acknowledged by the standard, applied at once."""

import contextlib
import socket
import ssl
import threading

import pytest
from hl7apy.parser import parse_message
from sqlalchemy import select, update

from med3d_service.custody.retention import Retention
from med3d_service.network.hl7.acknowledging import acknowledge
from med3d_service.network.hl7.frames import Frames
from med3d_service.network.hl7.messages import MessageRefused, read_header, read_updates
from med3d_service.network.hl7.server import Hl7Server
from med3d_service.network.pulls.arriving import reports
from med3d_service.processes.hl7 import corrector
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.library import ReportLibrary, ReportUnavailableError
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivalRow, PatientUpdateRow
from med3d_service.storage.copy_states import ANY, CopyStatus, move_copy
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.studies.arrivals.arrivals import Source
from med3d_service.studies.patient_corrections import KnownAs, merged_name
from med3d_service.trust.audit.tables import AuditRow
from rig.peers.dcmtk import certificates
from rig.processes.waiting import wait_until
from rig.service.arriving import slices
from rig.service.couriers import SandboxInProcess
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
        (adt("A08", "PID|1||P-1", character_set="ISO IR87"), "AE", "102"),
        (adt("A08", "PID|1||P-1", control_id=""), "AE", "101"),
        (adt("A08", "PID|1||P-1||||19700231"), "AE", "102"),
        (adt("A08", "PID|1||P-1||||29700101"), "AE", "102"),
        (adt("A08", f"PID|1||P-1||{'N' * 65}"), "AE", "102"),
        (adt("A40", "PID|1||12\\E\\34", "MRG|P-1"), "AE", "101"),
        (adt("A40", f"PID|1||{'1' * 65}", "MRG|P-1"), "AE", "101"),
        (adt("A08", "PID|1||" + "~".join(["P-1"] * 20_000)), "AE", "102"),
        (adt("A08", "PID|1||" + "&" * 40_000), "AE", "102"),
        (adt("A08", *["PID|1||P-1"] * 4_000), "AE", "102"),
        (adt("A08", f"PID|1||P-1|{'x' * 40_000}"), "AE", "102"),
    ],
)
def test_what_cannot_be_taken_is_said_by_table_0357_and_quotes_nobody(message, acknowledgment, condition):
    with pytest.raises(MessageRefused) as refused:
        read_updates(read_header(message), message)
    assert (refused.value.acknowledgment, refused.value.condition) == (acknowledgment, condition)
    assert "P-1" not in refused.value.sentence


@pytest.mark.parametrize(
    ("character_set", "codec", "family"),
    [
        ("GB 18030-2000", "gb18030", "王"),
        ("KS X 1001", "euc_kr", "김"),
        ("BIG-5", "big5", "許"),
        ("UTF-8", "utf-8", "Đ"),
    ],
)
def test_names_come_in_the_character_sets_of_their_countries(character_set, codec, family):
    message = adt("A08", f"PID|1||P-1||{family}^X", character_set=character_set).decode().encode(codec)
    (update,) = read_updates(read_header(message), message)
    assert update.name == f"{family}^X"


def test_bytes_may_be_escaped_and_layout_and_a_mark_of_the_bytes_order_say_nothing():
    name = r"M\XC3BC\ller\X0D\^\H\Jo\N\\.br\Ann\X7C\\X5E\ "
    message = b"\xef\xbb\xbf" + adt("A08", rf"PID|1||P\X2D\1||{name}||19610203")
    (update,) = read_updates(read_header(message), message)
    assert (update.sought, update.name, update.birth_date) == ((KnownAs("P-1"),), "Müller^Jo Ann|", "19610203")


def test_segments_may_end_in_newlines():
    message = A08.replace(b"||||||UNICODE UTF-8", b"").replace("Müller^Änne".encode(), b"A^B").replace(b"\r", b"\n")
    (update,) = read_updates(read_header(message), message)
    assert (update.name, update.birth_date) == ("A^B^^Dr.", "19610203")


def test_a_name_in_several_writings_is_one_name_and_what_is_not_told_stays():
    name = "PID|1||P-1||山田^太郎^^^^^L^I~Yamada^Tarou^^^^^L^A~^^^^^^L^P"
    (update,) = read_updates(read_header(message := adt("A08", name)), message)
    assert update.name == "Yamada^Tarou=山田^太郎"
    stored = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert merged_name(stored, "Yamada^Tarou") is None
    assert merged_name("Doe^Jane^^^", "Doe^Jane") is None
    assert merged_name(stored, "Yamada^Jirou") == "Yamada^Jirou"


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path, sandbox=SandboxInProcess())
    yield made
    made.close()


class Sender:
    """A hospital information system with one connection."""

    def __init__(self, settings, apply, *, tls=None, **given):
        given = {"hl7_port": 0, "hl7_allowed": ("HIS@127.0.0.1",), "hl7_message_bytes": 4096} | given
        self._server = Hl7Server(Settings(data_dir=settings.data_dir, **given), apply)
        self._connection = socket.create_connection(("127.0.0.1", self._server.port), 60)
        self._server.accept(60)
        if tls is not None:
            self._connection = tls.wrap_socket(self._connection, server_hostname="127.0.0.1")

    def say(self, message, frame=b"\x0b%b\x1c\r", to=frozenset({"HIS", "OTHER", ""})):
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
        assert to is None or answer.msh.msh_5.to_er7() in to
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


SEVERAL = "PID|1||123-45^^^SSA^SS~P-9^^^HOSP^MR||Roe^Rita"


def test_the_identifier_of_the_same_authority_takes_the_place_of_the_one_that_goes(ward, sender):
    ward.send(*slices(4, **JANE))
    assert sender.say(adt("A40", SEVERAL, "MRG|P-1^^^HOSP^MR")) == ("AA", "M-1")
    assert (len(ward.studies_of("patient_id", "P-9")), ward.studies_of("patient_id", "123-45")) == (1, [])
    assert sender.say(adt("A40", "PID|1||123-45^^^SSA^SS", "MRG|P-9^^^HOSP^MR")) == ("AE", "M-1", "204")


@pytest.mark.parametrize(("authority", "answer"), [("", ("AE", "M-1", "204")), ("HOSP", ("AA", "M-1"))])
def test_of_several_authorities_the_one_that_assigns_the_images_ids_must_be_known(tmp_path, authority, answer):
    ward = Ward(tmp_path, {"hl7_authority": authority}, sandbox=SandboxInProcess())
    sender = Sender(ward.settings, corrector(ward))
    try:
        ward.send(*slices(4, **JANE))
        assert sender.say(adt("A08", "PID|1||X-7^^^HOSP~P-1^^^LAB||Other^Person||19330101|M")) == answer
        assert len(ward.studies_of("patient_id", "P-1")) == 1
        with ward.database.read() as session:
            (study,) = session.scalars(select(StudyRow)).all()
            assert ward.vault.read(session, study.id, "patient_name") == "Doe^Jane"
    finally:
        sender.close()
        ward.close()


RITA = ("P-9", "Roe^Rita", "19610203", "F")
MERGED = adt("A40", "PID|1||P-9^^^HOSP||Roe^Rita||19610203|F", "MRG|P-1^^^HOSP")


def told(ward):
    """What is kept of each study: PatientID, name, birth date and sex."""
    with ward.database.read() as session:
        return [
            (*(ward.vault.read(session, study.id, kind) for kind in ("patient_id", "patient_name", "birth_date")),
             study.found_sex)
            for study in session.scalars(select(StudyRow).order_by(StudyRow.seq))
        ]  # fmt: skip


@pytest.mark.parametrize("stable", [False, True])
def test_a_message_counts_for_images_that_nobody_has_read_yet(ward, sender, stable):
    ward.take(*slices(4, **JANE))
    if stable:
        ward.arrivals.mark_complete("default", "1.2.3")
    assert sender.say(adt("A40", "PID|1||P-5^^^HOSP", "MRG|P-1^^^HOSP")) == ("AA", "M-1")
    assert sender.say(MERGED.replace(b"MRG|P-1", b"MRG|P-5")) == ("AA", "M-1")  # and merged once more
    ward.send(*slices(5, **JANE)[4:])  # the scanner knows nothing of it
    assert set(told(ward)) == {RITA}
    assert ward.row().fault is None


def merge(prior, stays, event="A40"):
    """A message that merges P-1, P-5 or P-7 into another; P-9 is Rita."""
    who = "Roe^Rita||19610203|F" if stays == "P-9" else "Mid^Mia||19500101|F"
    return adt(event, f"PID|1||{stays}^^^HOSP||{who}", f"MRG|{prior}^^^HOSP")


CHAIN = [("P-1", "P-5"), ("P-5", "P-7"), ("P-7", "P-9")]
ORDERS = [CHAIN, CHAIN[::-1], [CHAIN[1], CHAIN[0], CHAIN[2], CHAIN[0]], [CHAIN[2], CHAIN[0], CHAIN[2], CHAIN[1]]]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("before", [0, 2, 4])
def test_merges_count_in_whatever_order_they_come_before_the_images_and_after(ward, sender, order, before):
    for one in order[:before]:
        assert sender.say(merge(*one)) == ("AA", "M-1")
    ward.send(*slices(4, **JANE))
    ward.answer()
    for one in order[before:]:
        assert sender.say(merge(*one)) == ("AA", "M-1")
    assert told(ward) == [RITA]
    ward.send(*slices(5, series="late", **JANE))
    assert (told(ward), ward.row().fault) == ([RITA, RITA], None)


def test_a_study_of_images_under_both_identifiers_is_one_patients(ward, sender):
    assert sender.say(merge("P-1", "P-9", "A47")) == ("AA", "M-1")
    ward.send(*slices(4, **JANE), *slices(5, series="more", **JANE | {"PatientID": "P-9"}))
    assert (told(ward), ward.row().fault, ward.runs()[0][:2]) == ([RITA], None, ("queued", None))
    with ward.database.read() as session:
        (study,) = session.scalars(select(StudyRow)).all()
        assert len({str(age) for age in study.series_ages.values()}) == 1


def test_of_two_merges_that_contradict_one_another_the_later_one_counts(ward, sender):
    for one in (("P-9", "P-1"), ("P-1", "P-5"), ("P-5", "P-9")):
        assert sender.say(merge(*one)) == ("AA", "M-1")
    ward.send(*slices(4, **JANE))
    ward.send(*slices(6, **JANE | {"PatientID": "P-9", "StudyInstanceUID": "1.2.4"}, series="other"))
    assert [one[0] for one in told(ward)] == ["P-9", "P-9"]


def test_a_merge_is_forgotten_after_its_days_and_holds_what_was_read_by_it(ward, sender):
    assert sender.say(merge("P-1", "P-9")) == ("AA", "M-1")
    ward.send(*slices(4, **JANE))
    sweep = Retention(ward.settings, ward.database, ward.store, ward.vault, ward.trail).sweep
    assert sweep() == {}
    with ward.database.write() as session:
        session.execute(update(PatientUpdateRow).values(told_at=PatientUpdateRow.told_at - 31 * 86400))
    assert sweep() == {"merge": 1}
    ward.send(*slices(5, series="late", **JANE))
    ward.send(*slices(6, **JANE | {"StudyInstanceUID": "1.2.4"}, series="other"))
    assert (told(ward), ward.row().fault) == ([RITA, RITA, ("P-1", "Doe^Jane", "19700102", "F")], None)


def test_messages_correct_the_studies_of_the_sites_that_are_named_and_of_no_other(tmp_path):
    ward = Ward(tmp_path, {"hl7_sites": ("north", "south")}, sandbox=SandboxInProcess())
    sender = Sender(ward.settings, corrector(ward), hl7_sites=("north", "south"))
    try:
        for number, site in enumerate(("north", "default"), 3):
            ward.take(
                *slices(4, **JANE, StudyInstanceUID=f"1.2.{number}", series=site),
                source=Source("dimse", site, "SCANNER"),
            )
            ward.arrivals.mark_complete(site, f"1.2.{number}")
        ward.copy()
        assert sender.say(MERGED) == ("AA", "M-1")
        assert [one[0] for one in told(ward)] == ["P-9", "P-1"]
    finally:
        sender.close()
        ward.close()


@pytest.mark.parametrize("late_id", ["P-1", "P-9"])
def test_late_images_are_the_merged_patients_under_the_old_id_and_under_the_new(ward, sender, late_id):
    ward.send(*slices(4, **JANE))
    ward.answer()
    assert sender.say(MERGED) == ("AA", "M-1")
    ward.send(*slices(5, series="late", **JANE | {"PatientID": late_id}))
    assert [one[:1] + one[2:] for one in told(ward)] == [RITA[:1] + RITA[2:]] * 2
    assert ward.row().fault is None
    with ward.database.read() as session:
        late = session.scalars(select(StudyRow).order_by(StudyRow.seq.desc())).first()
        assert (late.working_status, late.refusal) == ("ready", None)


def test_a_working_copy_that_is_made_again_does_not_bring_the_old_patient_back(ward, sender):
    ward.send(*slices(4, **JANE))
    ward.answer()
    assert sender.say(MERGED) == ("AA", "M-1")
    with ward.database.write() as session:
        (study,) = session.scalars(select(StudyRow)).all()
        move_copy(session, study.id, ANY, CopyStatus.WAITING, working_tries=0)
    ward.copy()
    assert told(ward) == [RITA]


def test_images_that_the_pacs_corrects_after_a_message_know_better(ward, sender):
    ward.send(*slices(4, **JANE))
    ward.answer()
    assert sender.say(MERGED) == ("AA", "M-1")
    ward.send(*slices(4, **JANE | {"PatientName": "Doe^Janet"}))
    assert told(ward)[-1] == ("P-1", "Doe^Janet", "19700102", "F")


def test_an_arrival_shows_the_run_that_is_made_anew(ward, sender):
    ward.send(*slices(4, **JANE))
    old = ward.answer()
    assert sender.say(A08) == ("AA", "M-1")
    with ward.database.read() as session:
        (shown,) = reports(session, session.scalars(select(ArrivalRow)).all(), 60.0)
    assert (shown.state, shown.run_id not in {None, old}) == ("in_work", True)


def test_a_long_name_with_an_oid_is_a_sender_and_newlines_between_frames_are_nothing(ward):
    name = "CLOVERLEAF_PRODUCTION"
    sender = Sender(ward.settings, corrector(ward), hl7_allowed=(f"{name}@127.0.0.1",))
    try:
        message = adt("A08", "PID|1||P-1", sender=f"{name}^1.2.840^ISO")
        assert sender.say(message, b"\x0b%b\x1c\r\n", to=None) == ("AA", "M-1")
        assert sender.say(message, b"\n\x0b%b\x1c\r", to=None) == ("AA", "M-1")
    finally:
        sender.close()


def test_newlines_without_an_end_fill_no_memory():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames = Frames(ours, longest_bytes=100, whole_s=1.0)
        for _ in range(8):
            theirs.sendall(b"\r\n" * 4096)
            assert frames.receive(0.01) is None
        assert len(frames._held) < 8192


def test_a_connection_that_was_left_behind_makes_room(ward):
    server = Hl7Server(
        Settings(data_dir=ward.settings.data_dir, hl7_port=0, hl7_allowed=("HIS@127.0.0.1",), hl7_connections=1),
        corrector(ward),
        gives_way_s=0.0,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        left, came = (stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60)) for _ in range(2))
        server.accept(60)
        wait_until(lambda: server.idle == 1, "the first connection waits")
        server.accept(60)
        assert left.recv(1) == b""
        came.sendall(b"\x0b%b\x1c\r" % A08)
        assert came.recv(1) == b"\x0b"


def test_the_last_place_is_not_of_an_address_that_has_all_others(ward):
    allowed = ("HIS@127.0.0.0/30",)
    settings = Settings(data_dir=ward.settings.data_dir, hl7_port=0, hl7_allowed=allowed, hl7_connections=3)
    server = Hl7Server(settings, corrector(ward), gives_way_s=1e9)

    def come(address):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60, (address, 0)))
        server.accept(60)
        connection.sendall(b"\x0b")  # busy: it gives way to nobody
        return connection

    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        _, _, third = (come("127.0.0.1") for _ in range(3))
        assert third.recv(1) == b""
        other = come("127.0.0.2")
        other.sendall(b"%b\x1c\r" % A08)
        assert other.recv(1) == b"\x0b"


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


def test_over_tls_who_shows_a_certificate_of_the_authority_is_heard_and_nobody_else(ward, tmp_path):
    held = certificates(tmp_path / "certificates")
    given = {
        "hl7_tls_cert": held / "listener.pem", "hl7_tls_key": held / "listener.key", "hl7_tls_client_ca": held / "ca.pem",
    }  # fmt: skip
    answers = []
    for name in ("client", "stranger", None):
        tls = ssl.create_default_context(cafile=held / "ca.pem")
        if name is not None:
            tls.load_cert_chain(held / f"{name}.pem", held / f"{name}.key")
        sender = Sender(ward.settings, corrector(ward), tls=tls, **given)
        try:
            answers.append(sender.say(A08))
        except ssl.SSLError:
            answers.append(None)
        finally:
            sender.close()
    assert [answer is not None for answer in answers] == [True, False, False]
    in_the_clear = Sender(ward.settings, corrector(ward), **given)
    try:
        assert in_the_clear.say(A08) is None
    finally:
        in_the_clear.close()


@pytest.mark.parametrize("place", range(2, 12))
def test_an_answer_repeats_no_field_of_any_length(place):
    fields = ["MSH", "^~\\&", "HIS", "WARD", "MED3D", "MRI", "20261128", "", "ADT^A08", "7", "P", "2.5"]
    fields[place] = "A" * 100_000
    answer = acknowledge(read_header("|".join(fields).encode()))
    assert answer.startswith(b"MSH|")
    assert len(answer) < 1000
