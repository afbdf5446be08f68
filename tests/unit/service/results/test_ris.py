"""What a RIS is told of an answer, by HL7 v2 and by FHIR: the numbers, and how far a person stands behind them."""

import base64
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message

from med3d_contract.results import Refusal, Verdict, VerdictView
from med3d_service.results.delivery.fhir import FhirSender
from med3d_service.results.delivery.http_judging import retry_after_s
from med3d_service.results.delivery.mllp import MllpSender
from med3d_service.results.delivery.receivers import FhirServer, MllpReceiver
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.fhir import fhir_json
from med3d_service.results.reports.fhir_transaction import fhir_transaction
from med3d_service.results.reports.hl7_text import addressed, person
from med3d_service.results.reports.oru import NoPatientIdError, result_message
from rig.peers.node import start
from rig.peers.ris import FhirStore, Ris, observed
from rig.service.facts import PATIENT, STUDY, facts, refused_facts

PLACES = {
    "sending_application": "MED3D",
    "sending_facility": "",
    "receiving_application": "RIS^1.2.3^ISO",
    "receiving_facility": "HOSP",
}


def verdict(what):
    return VerdictView(
        verdict_id=f"v-{what}",
        verdict=what,
        why="the patient, Änne Müller, moved",
        reader="Dr. R & Co",
        given_by="key:reading room",
        given_at=datetime(2026, 1, 6, 8, 0, tzinfo=UTC),
    )


def read(made, kind=Kind.ORU):
    return parse_message(addressed(result_message(made, kind), PLACES)[0].decode())


def transaction(made):
    return json.loads(fhir_transaction(made))


STANDINGS = [
    (facts(), "P", "P", "preliminary"),
    (facts(verdict=verdict(Verdict.ACCEPTED)), "F", "F", "final"),
    (facts(verdict=verdict(Verdict.ACCEPTED), predecessor="an-earlier-run"), "C", "C", "amended"),
    (facts(verdict=verdict(Verdict.REJECTED)), "C", "W", "entered-in-error"),
    (facts(verdict=verdict(Verdict.RESCAN)), "C", "W", "entered-in-error"),
]


@pytest.mark.parametrize(("made", "order", "observation", "fhir"), STANDINGS)
def test_it_is_preliminary_until_a_person_says_what_it_is(made, order, observation, fhir):
    message = read(made)
    assert message.validate()
    assert message.oru_r01_patient_result.oru_r01_order_observation.obr.obr_25.value == order
    assert {status for _, status in observed(message).values()} == {observation}
    resources = [entry["resource"] for entry in transaction(made)["entry"]]
    assert {one["status"] for one in resources if one["resourceType"] != "Device"} == {fhir}


def test_the_message_has_numbers_with_units_limits_decision_and_reasons():
    text = read(facts()).to_er7()
    assert "OBX|1|NM|BA^Brain age^99MED3D|1|52|a^year^UCUM|||||P" in text
    assert "PI-LOWER^Lower limit of prediction interval^99MED3D|1|44|a^year^UCUM" in text
    assert "BA-GAP^Brain age gap^99MED3D|2|2|a^year^UCUM" in text
    assert "|REVIEW^To be reviewed^99MED3D|" in text
    assert "|vendor_outside_calibration^Another vendor.^99MED3D-REASON|" in text
    assert "PID|1||PAT-0042^^^HOSPITAL^PI||Müller^Änne^^^^^L||19701112|F" in text
    assert "|ACC-77|" in text
    assert "MSH|^~\\&|MED3D||RIS^1.2.3^ISO|HOSP|20260105093000+0000||ORU^R01^ORU_R01|" in text


def test_what_a_person_writes_of_a_verdict_stays_here_but_for_their_name():
    made = facts(verdict=verdict(Verdict.REJECTED))
    assert "moved" not in read(made).to_er7() + json.dumps(transaction(made), ensure_ascii=False)
    assert "Dr. R \\T\\ Co" in read(made).to_er7()


def test_a_refusal_says_so_and_has_no_number_and_takes_back_what_stood_before():
    made = refused_facts(predecessor="an-earlier-run", replaced=frozenset({"brain-age", "gap"}))
    found = observed(read(made))
    assert found["DECISION"] == ("REFUSED^Refused: no estimate^99MED3D", "P")
    assert found["REASON"][0].startswith("no_t1w_series^")
    assert (found["BA"], found["BA-GAP"]) == (("", "D"), ("", "D"))
    back = [one["resource"] for one in transaction(made)["entry"] if one["resource"]["resourceType"] == "Observation"]
    assert {(one["status"], "valueQuantity" in one) for one in back} == {("entered-in-error", False)}
    assert len(back) == 2
    Bundle.model_validate_json(fhir_transaction(made))


def test_the_page_goes_with_it_where_it_is_wanted():
    assert "|ED|" not in read(facts()).to_er7()
    told = observed(read(facts(), Kind.ORU_PDF))["BA-ANALYSIS"][0]
    assert told.startswith("^Application^PDF^Base64^")
    assert base64.b64decode(told.rpartition("^")[2]).startswith(b"%PDF")
    (report,) = [one["resource"] for one in transaction(facts())["entry"] if "presentedForm" in one["resource"]]
    assert base64.b64decode(report["presentedForm"][0]["data"]).startswith(b"%PDF")
    assert report["effectiveDateTime"] == "2020-07-23T08:15:01+02:00"


def test_the_same_said_again_is_the_same_message_and_another_verdict_is_another():
    once, again, final = (read(made).msh.msh_10.value for made in (facts(), facts(), STANDINGS[1][0]))
    assert once == again != final
    assert len(once) == 20


def test_answers_in_the_place_of_one_another_are_one_order_and_one_report():
    newer = facts(run_id="another", first_run_id=facts().run_id, predecessor=facts().run_id)
    orders = {read(made).to_er7().split("OBR|1||")[1].split("|")[0] for made in (facts(), newer)}
    assert orders == {f"{facts().run_id}^INFOVAE-MED3D"}
    urls = [[one["request"]["url"] for one in transaction(made)["entry"]] for made in (facts(), newer)]
    assert urls[0] == urls[1]


def test_text_separates_nothing():
    nasty = "A|B^C&D~E\\F\rPID|1"
    patient = type(PATIENT)(patient_id=nasty, issuer="", name=f"{nasty}=山田^太郎", birth_date="", sex="")
    message = read(facts(patient=patient, study=type(STUDY)("1.2", "x", "", "", nasty, "")))
    assert message.validate()
    assert message.to_er7().count("\rPID|") == 1
    assert "PID|1||A\\F\\B\\S\\C\\T\\D\\R\\E\\E\\F PID\\F\\1^^^^PI|" in message.to_er7()


def test_names_are_written_as_the_hospital_reads_them():
    assert person("Doe^Jane^M^Dr.^PhD") == "Doe^Jane^M^PhD^Dr.^^L"
    assert (
        person("Yamada^Tarou=山田^太郎=やまだ^たろう") == "Yamada^Tarou^^^^^L~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P"
    )


def test_without_a_patient_id_no_message_is_made():
    with pytest.raises(NoPatientIdError):
        result_message(facts(patient=type(PATIENT)("", "", "Doe^Jane", "")), Kind.ORU)


# --- on the way ---


ORU = Outgoing(Kind.ORU, "uid", result_message(facts(), Kind.ORU))


@pytest.fixture
def ris():
    made = Ris()
    yield made
    made.stop()


def mllp(port, **more):
    return MllpSender(MllpReceiver.model_validate({"host": "127.0.0.1", "port": port, "timeout_s": 30} | more))


def test_a_message_is_delivered_when_this_very_one_is_acknowledged(ris):
    mllp(ris.port, receiving_application="RIS").send(ORU)
    assert ris.messages[0].msh.msh_5.value == "RIS"
    assert ris.faults == []
    ris.wrong_id = True
    with pytest.raises(NotDeliveredError, match="another_acknowledgment"):
        mllp(ris.port).send(ORU)


@pytest.mark.parametrize(
    ("answer", "error", "fault"),
    [
        (("AE", "207"), NotDeliveredError, "peer_failed:AE_207"),
        (("AE", ""), NotDeliveredError, "peer_failed:AE"),
        (("AE", "204^Unknown key"), NotDeliveredError, "peer_failed:AE_204"),
        (("AE", "101"), RefusedByPeerError, "refused:AE_101"),
        (("AR", "200"), RefusedByPeerError, "refused:AR_200"),
        (("AR", ""), RefusedByPeerError, "refused:AR"),
        (("XX", ""), NotDeliveredError, "peer_failed:no_acknowledgment"),
        ((None, ""), NotDeliveredError, "peer_away:no_answer"),
    ],
)
def test_what_passes_is_tried_again_and_what_does_not_is_dead(ris, answer, error, fault):
    ris.answers.append(answer)
    with pytest.raises(NotDeliveredError) as caught:
        mllp(ris.port).send(ORU)
    assert (type(caught.value), caught.value.code) == (error, fault)


def test_nobody_there_is_a_fault_that_passes():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NotDeliveredError, match="peer_away:ConnectionRefusedError"):
            mllp(taken.getsockname()[1]).send(ORU)


@pytest.fixture
def server():
    made = FhirStore()
    yield made
    made.stop()


def fhir(server, **more):
    return FhirSender(FhirServer.model_validate({"url": server.url} | more))


def sent(made):
    return Outgoing(Kind.FHIR, "uid", fhir_transaction(made))


def test_a_server_has_each_resource_once_however_often_it_is_sent_and_the_latest_word(server, monkeypatch):
    monkeypatch.setenv("FHIR_TOKEN", "t-1")
    sender = fhir(server, bearer={"env": "FHIR_TOKEN"})
    for made in (facts(), facts(), STANDINGS[1][0]):
        sender.send(sent(made))
    sender.close()
    kinds = [kind for kind, _ in server.resources]
    assert {kind: kinds.count(kind) for kind in kinds} == {"Device": 1, "Observation": 3, "DiagnosticReport": 1}
    assert [one["status"] for one in server.reports()] == ["final"]
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer t-1"}


@pytest.mark.parametrize(
    ("status", "error"), [(503, NotDeliveredError), (401, NotDeliveredError), (422, RefusedByPeerError)]
)
def test_a_transaction_that_is_not_taken_is_tried_again_or_dead(server, status, error):
    server.statuses.append(status)
    sender = fhir(server)
    with pytest.raises(NotDeliveredError, match=f"http_{status}") as caught:
        sender.send(sent(facts()))
    sender.close()
    assert type(caught.value) is error
    assert server.resources == {}


def test_another_validator_finds_no_fault_in_what_is_sent_and_read(tmp_path):
    answers = [facts(), refused_facts(), *(made for made, *_ in STANDINGS)]
    files = []
    for write in (fhir_json, fhir_transaction):
        for made in answers:
            files.append(tmp_path / f"{len(files)}.json")
            files[-1].write_bytes(write(made))
    files.append(tmp_path / "wrong.json")
    files[-1].write_bytes(fhir_json(facts()).replace(b'"preliminary"', b'"perhaps"'))
    with start("fhir", "fhir_validator.js", *map(str, files)) as validator:
        *found, of_the_wrong_one = json.loads(validator.stdout.read())
    assert found == [[]] * (2 * len(answers))
    assert of_the_wrong_one != []


def test_patients_names_go_by_tls_or_where_it_is_said_that_they_need_not():
    with pytest.raises(ValueError, match="in the clear"):
        FhirServer.model_validate({"url": "http://fhir.example.org/r4"})
    FhirServer.model_validate({"url": "http://fhir.example.org/r4", "allow_insecure": True})
    FhirServer.model_validate({"url": "https://fhir.example.org/r4"})


def outcome(code, severity="error"):
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code, "diagnostics": "Doe"}]}


def taken(entries=5, **more):
    entry = [{"response": {"status": "200 OK"} | more}] * entries
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entry}


@pytest.mark.parametrize(
    ("status", "answer", "error", "fault"),
    [
        (422, outcome("invariant"), RefusedByPeerError, "refused:http_422_invariant"),
        (412, outcome("multiple-matches"), RefusedByPeerError, "refused:http_412_multiple-matches"),
        (409, outcome("conflict"), NotDeliveredError, "peer_failed:http_409_conflict"),
        (400, outcome("Doe^Jane"), RefusedByPeerError, "refused:http_400_unknown"),
        (400, "<html>", RefusedByPeerError, "refused:http_400"),
        (200, outcome("exception"), NotDeliveredError, "peer_failed:no_transaction_response_exception"),
        (200, outcome("x", "information"), NotDeliveredError, "peer_failed:no_transaction_response"),
        (200, ["x"], NotDeliveredError, "peer_failed:no_transaction_response"),
        (200, taken(0), NotDeliveredError, "peer_failed:incomplete_response"),
        (200, taken(4), NotDeliveredError, "peer_failed:incomplete_response"),
        (200, taken(outcome=outcome("processing")), NotDeliveredError, "peer_failed:http_200_processing"),
        (200, taken(status="422 Unprocessable"), RefusedByPeerError, "refused:http_422"),
    ],
)
def test_a_server_has_taken_what_it_says_of_each_entry_that_it_has_taken(server, status, answer, error, fault):
    server.answers.append((status, {}, answer))
    sender = fhir(server)
    with pytest.raises(NotDeliveredError) as caught:
        sender.send(sent(facts()))
    assert (type(caught.value), caught.value.code) == (error, fault)
    server.answers.append((200, {}, taken(outcome=outcome("informational", "information"))))
    sender.send(sent(facts()))
    sender.close()


def test_a_server_that_is_busy_says_when_to_come_again(server):
    server.answers.append((429, {"Retry-After": "120"}, outcome("throttled")))
    sender = fhir(server)
    with pytest.raises(NotDeliveredError, match="http_429_throttled") as caught:
        sender.send(sent(facts()))
    sender.close()
    assert caught.value.not_before_s == 120.0


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("", 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("7", 7, 7),
        ("9" * 30, 86400, 86400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_a_day(value, least, most):
    assert least <= retry_after_s(value) <= most


def test_retry_after_may_be_a_date_to_come():
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert 3000 <= retry_after_s(format_datetime(in_an_hour, usegmt=True)) <= 3600


def test_a_receiver_gets_the_letters_of_its_character_set_or_is_told_that_they_are_others(ris):
    message, control_id = addressed(result_message(facts(), Kind.ORU), PLACES, "8859/1")
    assert b"|2.5.1||||||8859/1\r" in message
    assert "Müller^Änne".encode("latin-1") in message
    assert parse_message(message.decode("latin-1")).msh.msh_10.value == control_id
    patient = type(PATIENT)("P-1", "", "Jovanović^Đorđe", "19701112")
    message, _ = addressed(result_message(facts(patient=patient), Kind.ORU), PLACES, "8859/1")
    assert b"|2.5.1||||||UNICODE UTF-8\r" in message
    mllp(ris.port, character_set="8859/15").send(
        Outgoing(Kind.ORU, "uid", result_message(facts(patient=patient), Kind.ORU))
    )
    assert ris.faults == []


def test_a_sentence_that_is_longer_than_a_string_of_hl7_goes_whole_as_text_beside_its_code():
    sentence = "No series is T1-weighted. " * 12
    refusal = Refusal(code="no_t1w_series", reason=sentence.strip())
    message = read(refused_facts(refusal=refusal))
    assert message.validate()
    told = [line.split("|") for line in message.to_er7().split("\r") if "|REASON^" in line]
    assert [fields[2] for fields in told] == ["CWE", "TX"]
    assert len(told[0][5].split("^")[1]) <= 199
    assert told[1][5] == sentence.strip()


def test_a_half_acknowledgment_is_none_and_a_late_one_makes_the_same_message_go_again(ris):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answers = [b"\x0bMSH|^~\\&|RIS\rMSA|AA|", b"MSH|^~\\&|RIS\rMSA|AA|x\x1c\r", b""]
        said = []

        def answer():
            for one in answers:
                connection, _ = listening.accept()
                with connection:
                    said.append(connection.makefile("rb").read1(1 << 20))
                    connection.sendall(one)

        thread = threading.Thread(target=answer)
        thread.start()
        for _ in answers:
            with pytest.raises(NotDeliveredError, match=r"peer_away:(FrameError|no_answer|ConnectionResetError)"):
                mllp(listening.getsockname()[1], timeout_s=5).send(ORU)
        thread.join(10)
    assert len({one.split(b"|")[9] for one in said}) == 1
