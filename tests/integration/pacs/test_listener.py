"""The listener and Debian's dcmtk: what is acknowledged is kept, and what is wrong is said in the protocol's words."""

import os
import random
import signal
import socket
import struct
import time
from contextlib import suppress
from itertools import product

import pytest
from pydicom.uid import MPEG2MPML

from med3d_service.network.listener.places import ARTIM_S
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.results.delivery.dimse import DimseSender
from med3d_service.results.delivery.sending import Outgoing
from med3d_service.results.reports.library import renderers
from med3d_service.studies.own_objects import own_uid
from rig.dicom.stated import CLASSES, SYNTAXES, accepted_contexts, negotiated
from rig.faults.disks import small_disk
from rig.peers import dcmjs_dimse, dcmtk
from rig.peers.dcmtk import SUCCESS
from rig.peers.slow import was_cut_off
from rig.processes.listening import Listening
from rig.processes.waiting import wait_until
from rig.service.arriving import saved, slices
from rig.service.facts import explained, facts, segmented_head

HEADER = {"PatientID": "SECRET-4711", "PatientName": "SECRET^JANE", "StudyInstanceUID": "1.2.3"}


def series(count=4, name="series", **header):
    return [saved(one) for one in slices(count, series=name, **HEADER | header)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A listener for tests that leave studies of their own behind."""
    made = Listening(tmp_path_factory.mktemp("listener")).begin()
    yield made
    made.close()


@pytest.fixture
def listening(tmp_path):
    """Starts listeners that a test has to itself; all are gone afterwards."""
    made = []

    def start(folder="data", **environment):
        made.append(Listening(tmp_path / folder, **environment).begin())
        return made[-1]

    yield start
    for one in made:
        one.close()


def of(listener, uid):
    """The study's row and instances."""
    index = listener.index("study_uid", uid)
    [arrival] = [row for row in listener.arrivals() if row.study_index == index]
    return arrival, [row for row in listener.rows() if row.arrival_id == arrival.id]


def test_echoscu_is_answered(shared):
    assert dcmtk.echo(shared.dicom_port)[0]


def test_a_series_is_taken_whole_and_byte_for_byte(shared, tmp_path):
    files = series(5, "whole", StudyInstanceUID="1.1")
    answers, _ = dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path / "in", files))
    assert answers == [SUCCESS] * 5
    arrival, rows = of(shared, "1.1")
    assert (arrival.instances, len(rows), arrival.fault, arrival.source) == (5, 5, None, "dimse")
    kept = {file[-2000:] for file in shared.read_all()}
    assert all(file[-300:] in {one[-300:] for one in kept} for file in files)


def test_dcmjs_dimse_sends_a_series_and_takes_our_objects(shared, tmp_path):
    files = dcmtk.write(tmp_path / "in", series(3, "node", StudyInstanceUID="1.77"))
    assert dcmjs_dimse.send(shared.dicom_port, "MED3D", sorted(files.iterdir())) == [{"status": 0}] * 4
    assert len(of(shared, "1.77")[1]) == 3
    objects = {kind: render(facts(segmented=segmented_head(), explanation=explained()))
               for kind, render in renderers().items()}  # fmt: skip
    with dcmjs_dimse.receiving() as (port, told):
        sender = DimseSender(DimsePeer(host="127.0.0.1", port=port, ae_title="NODE"), commitment=False)
        for kind, content in objects.items():
            sender.send(Outgoing(kind, own_uid(facts().run_id, kind), content))
            assert next(told)["stored"] == own_uid(facts().run_id, kind)


def test_sent_again_it_is_known_and_kept_once(shared, tmp_path):
    folder = dcmtk.write(tmp_path / "in", series(4, "again", StudyInstanceUID="1.2"))
    for _ in range(2):
        assert dcmtk.send(shared.dicom_port, folder)[0] == [SUCCESS] * 4
    assert len(of(shared, "1.2")[1]) == 4
    assert shared.unrecorded() == set()


def test_spread_over_eight_associations_at_once_it_is_one_study(shared, tmp_path):
    files = series(24, "spread", StudyInstanceUID="1.3")
    senders = [
        dcmtk.storescu(shared.dicom_port, dcmtk.write(tmp_path / str(part), files[part::8])) for part in range(8)
    ]
    assert [dcmtk.answers(sender.communicate(timeout=60)[0]) for sender in senders] == [[SUCCESS] * 3] * 8
    assert len(of(shared, "1.3")[1]) == 24


@pytest.mark.parametrize("option", ["-xi", "-xb", "-xe", "-xd"])
def test_every_uncompressed_syntax_is_taken(shared, tmp_path, option):
    uid = f"1.4.{ord(option[-1])}"
    answers, said = dcmtk.send(
        shared.dicom_port, dcmtk.write(tmp_path / "in", series(2, option, StudyInstanceUID=uid)), options=[option]
    )
    assert answers == [SUCCESS] * 2, said
    assert len(of(shared, uid)[1]) == 2


def test_compressed_images_are_taken_as_they_are(shared, test_data, tmp_path):
    folder = test_data / "dicom" / "fragments"
    options = {"1.2.840.10008.1.2.4.70": "-xs", "1.2.840.10008.1.2.5": "-xr", "1.2.840.10008.1.2.4.90": "-xv"}
    found = {}
    for path in sorted(folder.rglob("*.dcm")):
        head = path.read_bytes()[:1000]
        for syntax, option in options.items():
            if syntax.encode() + b"\0" * (len(syntax) % 2) + b"\2\0" in head:
                found.setdefault(option, path)
    assert found, "the sample data holds compressed images"
    for option, path in found.items():
        answers, said = dcmtk.send(shared.dicom_port, path, options=[option])
        assert answers == [SUCCESS], said


def test_an_unknown_caller_is_rejected_at_association(shared, tmp_path):
    answered, said = dcmtk.echo(shared.dicom_port, calling="STRANGER")
    assert not answered
    assert "Association Rejected" in said
    assert "Calling AE Title Not Recognized" in said
    answers, said = dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path, series(1)), calling="STRANGER")
    assert answers == []
    assert "Association Rejected" in said


def test_a_caller_from_another_address_is_rejected(listening):
    one = listening(MED3D_DICOM_ALLOWED="SCANNER@192.0.2.0/24,*@127.0.0.2")
    assert "Association Rejected" in dcmtk.echo(one.dicom_port)[1]


def test_with_tls_only_certified_clients_are_let_in(listening, tmp_path):
    keys = dcmtk.certificates(tmp_path / "keys")
    one = listening(
        MED3D_DICOM_TLS_CERT=str(keys / "listener.pem"),
        MED3D_DICOM_TLS_KEY=str(keys / "listener.key"),
        MED3D_DICOM_TLS_CLIENT_CA=str(keys / "ca.pem"),
    )

    def tls(name):
        return ["+tls", str(keys / f"{name}.key"), str(keys / f"{name}.pem"), "+cf", str(keys / "ca.pem")]

    answers, said = dcmtk.send(one.dicom_port, dcmtk.write(tmp_path / "in", series(2)), options=tls("client"))
    assert answers == [SUCCESS] * 2, said
    assert not dcmtk.echo(one.dicom_port, *tls("stranger"))[0]
    assert not dcmtk.echo(one.dicom_port, "+tla", "+cf", str(keys / "ca.pem"))[0]
    assert not dcmtk.echo(one.dicom_port)[0]
    wait_until(lambda: one.events()["association_rejected"] >= 3, "the lines on who was turned away")


def test_a_transfer_syntax_that_is_not_read_is_not_agreed_on(shared, tmp_path):
    one = slices(1, series="mpeg", **HEADER)[0]
    one.file_meta.TransferSyntaxUID = MPEG2MPML
    file = saved(slices(1, series="mpeg", **HEADER)[0])
    file = file.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.100\0")
    length = struct.pack("<H", 24) + b"1.2.840.10008.1.2.4.100\0"
    file = file.replace(struct.pack("<H", 20) + b"1.2.840.10008.1.2.4.100\0", length)
    place = file.index(b"\x02\x00\x00\x00UL") + 8
    file = file[:place] + struct.pack("<I", struct.unpack_from("<I", file, place)[0] + 4) + file[place + 4 :]
    answers, said = dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path, [file]), options=["-xm"])
    assert SUCCESS not in answers
    assert "Presentation Context" in said or "Transfer Syntax" in said


def patched(file, tag, value):
    """The file with another UID, whatever its validity."""
    place = file.index(tag + b"UI")
    old = struct.unpack_from("<H", file, place + 6)[0]
    value += b"\0" * (len(value) % 2)
    return file[: place + 6] + struct.pack("<H", len(value)) + value + file[place + 8 + old :]


STUDY_UID, SERIES_UID = b"\x20\x00\x0d\x00", b"\x20\x00\x0e\x00"


@pytest.mark.parametrize(
    ("tag", "value"), [(STUDY_UID, b""), (SERIES_UID, b""), (STUDY_UID, b"../../../tmp/x"), (SERIES_UID, b"1/2")]
)
def test_missing_uids_and_uids_with_path_characters_are_refused(shared, tmp_path, tag, value):
    wrong, right = patched(series(1, "wrong")[0], tag, value), series(1, "right", StudyInstanceUID="1.5")[0]
    before = len(shared.rows())
    answers, said = dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path, [wrong, right, wrong]))
    assert sorted(answers) == ["Error: DataSetDoesNotMatchSOPClass"] * 2 + [SUCCESS], said
    assert len(shared.rows()) <= before + 1


def test_the_same_uid_with_other_pixels_is_kept_and_flagged(shared, tmp_path):
    first = slices(1, series="twice", **HEADER | {"StudyInstanceUID": "1.6"})[0]
    second = slices(1, series="twice", **HEADER | {"StudyInstanceUID": "1.6"})[0]
    second.PixelData = bytes(len(second.PixelData))
    answers, _ = dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path, [saved(first), saved(second)]))
    assert answers == [SUCCESS] * 2
    arrival, rows = of(shared, "1.6")
    assert (arrival.fault, len(rows)) == ("inconsistent_study", 2)


def test_two_patients_under_one_study_uid_are_flagged(shared, tmp_path):
    files = series(1, "a", StudyInstanceUID="1.7") + series(1, "b", StudyInstanceUID="1.7", PatientID="OTHER")
    assert dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path, files))[0] == [SUCCESS] * 2
    assert of(shared, "1.7")[0].fault == "several_patients"


def test_an_aborted_association_leaves_no_half_instance(shared, tmp_path):
    answers, _ = dcmtk.send(
        shared.dicom_port, dcmtk.write(tmp_path, series(3, "x", StudyInstanceUID="1.8")), options=["--abort"]
    )
    assert answers == [SUCCESS] * 3
    assert len(of(shared, "1.8")[1]) == 3


def test_a_sender_that_dies_in_the_middle_leaves_no_half_instance(shared, tmp_path):
    big = slices(1, series="big", **HEADER | {"StudyInstanceUID": "1.9"})[0]
    big.add_new(0x00091001, "OB", b"x" * 60_000_000)  # before the pixels, so that it takes its time
    big.add_new(0x00090010, "LO", "A TEST")
    folder = dcmtk.write(tmp_path, [saved(big)])
    for _ in range(3):
        sender = dcmtk.storescu(shared.dicom_port, folder)
        time.sleep(random.Random(7).uniform(0.02, 0.2))
        sender.kill()
        sender.communicate()
    wait_until(lambda: shared.unrecorded() == set(), "the removal of what had come")
    assert dcmtk.echo(shared.dicom_port)[0]


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing": b"",
    "endless pdu": struct.pack(">BxI", 1, 0xFFFFFFFF) + b"x" * 100,
    "cut request": struct.pack(">BxI", 1, 200) + b"x" * 50,
    "request of noise": struct.pack(">BxI", 1, 200) + random.Random(1).randbytes(200),
    "data first": struct.pack(">BxI", 4, 10) + struct.pack(">IBB", 6, 1, 3) + b"1234",
    "unknown pdu": struct.pack(">BxI", 99, 4) + bytes(4),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_answered_with_an_abort_or_nothing_and_harms_nobody(shared, garbage):
    with socket.create_connection(("127.0.0.1", shared.dicom_port), timeout=10) as connection:
        connection.sendall(garbage)
        with suppress(OSError):  # it may have hung up already
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):  # with what it has not read, its end is a reset
            while piece := connection.recv(1000):
                answer += piece
    assert answer[:1] in {b"", b"\7"}
    assert dcmtk.echo(shared.dicom_port)[0]


def test_who_is_silent_for_too_long_is_cut_off(listening):
    one = listening(MED3D_DICOM_IDLE_S="0.5")
    with socket.create_connection(("127.0.0.1", one.dicom_port), timeout=10) as connection:
        assert connection.recv(1000) == b""


def test_more_associations_than_allowed_are_told_to_come_back(listening):
    one = listening(MED3D_DICOM_ASSOCIATIONS="1")
    with socket.create_connection(("127.0.0.1", one.dicom_port), timeout=10):
        wait_until(lambda: "Local Limit Exceeded" in dcmtk.echo(one.dicom_port)[1], "the rejection")
    wait_until(lambda: dcmtk.echo(one.dicom_port)[0], "room for another association")


def silent(one, count, address):
    """Connections from ``address`` on which nothing is said."""
    where = ("127.0.0.1", one.dicom_port)
    return [socket.create_connection(where, timeout=10, source_address=(address, 0)) for _ in range(count)]


def test_silent_connections_of_strangers_and_of_one_address_hold_up_nobody(listening):
    one = listening(MED3D_DICOM_ALLOWED="SCANNER@127.0.0.1,*@127.0.0.8/29")
    held = silent(one, 100, "127.0.0.2") + silent(one, 100, "127.0.0.9") + silent(one, 100, "127.0.0.10")
    assert dcmtk.echo(one.dicom_port)[0]
    for connection in held:
        connection.close()
    assert one.events()["associations_rejected"] <= 3, "one line in ten seconds, not one each"


def test_who_talks_too_slowly_to_ask_for_an_association_is_cut_off(listening):
    one = listening(MED3D_DICOM_ASSOCIATIONS="1")
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", one.dicom_port)) as connection:
        connection.settimeout(0.3)
        assert was_cut_off(connection, struct.pack(">BxI", 1, 200) + bytes(200))
    assert time.monotonic() - began >= ARTIM_S
    wait_until(lambda: dcmtk.echo(one.dicom_port)[0], "room for another association")


def test_the_log_names_callers_and_no_patient(listening, tmp_path):
    one = listening()
    files = series(2, SeriesDescription="SECRET description")
    dcmtk.send(one.dicom_port, dcmtk.write(tmp_path / "in", [*files, patched(files[0], STUDY_UID, b"SECRET")]))
    dcmtk.echo(one.dicom_port, calling="WARD-7")
    wait_until(lambda: one.events()["association_ended"] == 2, "the end of both associations")
    for word in ("SECRET", "1.2.3", "JANE"):
        assert word not in one.log()
    assert "WARD-7" in one.log(), "an administrator asks who it was"


def test_killed_at_any_moment_it_has_all_that_it_acknowledged(listening, tmp_path):
    one = listening()
    files = series(80, "kill")
    folder, moments = dcmtk.write(tmp_path / "in", files), random.Random(4)
    acknowledged = 0
    for _ in range(2):
        sender = dcmtk.storescu(one.dicom_port, folder)
        wait_until(one.rows, "the first instance")
        time.sleep(moments.uniform(0.0, 0.3))
        one.kill()
        answers = dcmtk.answers(sender.communicate(timeout=60)[0])
        acknowledged = max(acknowledged, answers.count(SUCCESS))
        assert len(one.rows()) >= acknowledged
        assert len(one.read_all()) == len(one.rows())
        one.begin()
    assert dcmtk.send(one.dicom_port, folder)[0] == [SUCCESS] * 80
    assert len(one.read_all()) == 80
    assert one.arrivals()[0].instances == 80


def test_stopped_in_the_middle_it_ends_by_itself_and_loses_nothing(listening, tmp_path):
    one = listening()
    sender = dcmtk.storescu(one.dicom_port, dcmtk.write(tmp_path / "in", series(150, "stop")))
    wait_until(one.rows, "the first instance")
    assert one.stop("listener", signal.SIGTERM) == 0
    acknowledged = dcmtk.answers(sender.communicate(timeout=60)[0]).count(SUCCESS)
    assert len(one.read_all()) >= acknowledged
    assert one.unrecorded() == set()


@pytest.fixture
def disk_of_24_mb(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 24) as mounted:
        if not mounted:
            pytest.skip("mounting a small disk takes root, on a machine that lets one mount")
        yield folder


@pytest.mark.parametrize("reserve_bytes", [8_000_000, 0], ids=["nearly full", "full"])
def test_a_full_disk_is_out_of_resources_and_leaves_nothing_half_written(
    listening, disk_of_24_mb, tmp_path, reserve_bytes
):
    one = listening(folder=disk_of_24_mb / "data", MED3D_RESERVE_BYTES=str(reserve_bytes))
    files = []
    for dataset in slices(30, series="large", **HEADER):
        dataset.add_new(0x00290010, "LO", "A TEST")
        dataset.add_new(0x00291001, "OB", os.urandom(1_000_000))
        files.append(saved(dataset))
    answers, said = dcmtk.send(one.dicom_port, dcmtk.write(tmp_path / "in", files), options=["-nh"])
    kept = answers.count(SUCCESS)
    assert 5 < kept < 30
    assert "OutOfResources" in answers[kept], said[-500:]
    assert len(one.read_all()) == kept
    assert one.unrecorded() == set()
    assert dcmtk.echo(one.dicom_port)[0]


# --- what docs/conformance.md says ---


def test_each_stated_class_is_taken_in_each_stated_syntax_and_in_no_other(shared):
    stated = accepted_contexts()
    expected = {(uid, syntax) for uid, (syntaxes, _) in stated.items() for syntax in syntaxes}
    proposed = [(uid, (syntax,)) for uid, syntax in product(sorted(stated), SYNTAXES)]
    assert set(negotiated(shared.dicom_port, proposed)) == expected


def test_no_other_class_of_the_standard_is_taken_and_the_first_stated_syntax_goes_first(shared):
    stated = accepted_contexts()
    proposed = [(uid, tuple(reversed(SYNTAXES))) for uid in CLASSES]
    assert dict(negotiated(shared.dicom_port, proposed)) == {uid: syntaxes[0] for uid, (syntaxes, _) in stated.items()}


def test_dcmtk_is_answered_as_stated(shared, tmp_path):
    stated = accepted_contexts()
    assert stated["1.2.840.10008.1.1"][1] == "SCP"
    assert dcmtk.echo(shared.dicom_port)[0]
    ct = "1.2.840.10008.5.1.4.1.1.2"
    assert ct not in stated
    image = saved(slices(1, series="ct", PatientID="P", StudyInstanceUID="1.9", SOPClassUID=ct)[0])
    answers, said = dcmtk.send(shared.dicom_port, dcmtk.write(tmp_path / "in", [image]))
    assert answers == []
    assert f"No presentation context for: (CT) {ct}" in said
