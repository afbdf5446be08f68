"""Instances that come one by one: what is kept, what is known again, what is refused, and that nothing is half done."""

import errno
import threading

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
)
from sqlalchemy import func, select

from med3d_service.custody.leftovers import Leftovers
from med3d_service.processes.api import compose
from med3d_service.storage.arrival_tables import ArrivedInstanceRow
from med3d_service.storage.sealed import SealedReader
from med3d_service.storage.tables import InstanceRow, RunRow, StudyRow
from med3d_service.studies.arrivals.arrivals import InstanceRefused, StoreFull
from med3d_service.studies.original_names import original_name
from med3d_service.studies.own_objects import own_uid
from rig.service.arriving import SOURCE, Intake, saved, slices
from rig.service.parts import migrated


@pytest.fixture
def intake(tmp_path):
    made = Intake(tmp_path)
    yield made
    made.database.close()


def rows(intake, table):
    with intake.database.read() as session:
        return session.scalars(select(table)).all()


def test_an_instance_is_kept_sealed_and_can_be_read_back(intake):
    file = saved(slices(1)[0])

    assert intake.take(file) == ["stored"]

    [row] = rows(intake, ArrivedInstanceRow)
    path = intake.store.local_path(f"originals/{row.upload_id}")
    assert b"DICM" not in path.read_bytes()
    with SealedReader(
        path, intake.keys.originals, original_name(row.upload_id, "default"), row.stored_sha256
    ) as reader:
        assert reader.read(row.size_bytes + 1) == file
    assert intake.spooled() == []


def test_an_identical_resend_is_known_and_kept_once(intake):
    first, *others = slices(3)
    assert intake.take(first, *others, first) == ["stored", "stored", "stored", "known"]
    assert intake.originals() == 3
    assert intake.row().instances == 3


def test_another_preamble_and_group_0002_make_no_other_instance(intake):
    one = slices(1)[0]
    file = bytearray(saved(one))
    file[:10] = b"0123456789"
    assert intake.take(one, bytes(file)) == ["stored", "known"]


def test_a_resend_with_other_headers_and_the_same_pixels_is_known(intake):
    one, changed = slices(1)[0], slices(1)[0]
    changed.InstitutionName = "Somewhere else"
    assert intake.take(one, changed) == ["stored", "known"]
    assert intake.row().fault is None


def test_the_same_sop_uid_with_other_pixels_is_kept_and_the_run_refused(intake):
    one, changed = slices(1)[0], slices(1)[0]
    changed.PixelData = bytes(reversed(changed.PixelData))[:-2] + b"\7\7"

    assert intake.take(one, changed, changed) == ["stored", "conflict", "known"]
    intake.arrivals.mark_complete("default", "1.2.3")

    [study] = rows(intake, StudyRow)
    assert study.refusal["code"] == "inconsistent_study"
    assert len(rows(intake, InstanceRow)) == 2


def test_two_patients_under_one_study_uid_are_refused(intake):
    first, second = slices(2)
    second.PatientID = "P-2"

    assert intake.take(first, second) == ["stored", "conflict"]
    intake.arrivals.mark_complete("default", "1.2.3")

    [study] = rows(intake, StudyRow)
    assert study.refusal["code"] == "several_patients"
    assert "name two patients" in study.refusal["reason"]


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_data_set_without_uids_is_refused(intake, keyword):
    one = slices(1)[0]
    meta = FileMetaDataset()
    meta.update(one.file_meta)
    meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.file_meta = meta
    del one[keyword]
    with pytest.raises(InstanceRefused, match="missing_uids"):
        intake.take(saved(one))
    assert intake.originals() == 0


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2.3/4", "1..2", "1" * 65, "1.2.x"])
def test_a_uid_that_is_none_is_refused(intake, uid):
    file = saved(slices(1, StudyInstanceUID="1.2")[0])
    place, length = file.index(b"\x20\x00\x0d\x00UI"), len(uid) + len(uid) % 2
    file = file[: place + 6] + length.to_bytes(2, "little") + uid.encode().ljust(length, b"\0") + file[place + 12 :]
    with pytest.raises(InstanceRefused, match="invalid_uid"):
        intake.take(file)
    assert intake.originals() == 0


def test_what_is_no_dicom_is_refused(intake):
    for file in (b"", b"\0" * 200, b"hello" * 1000, saved(slices(1)[0])[:300]):
        with pytest.raises(InstanceRefused):
            intake.take(file)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_tells_its_uids(intake, syntax):
    one = slices(1)[0]
    one.file_meta.TransferSyntaxUID = syntax
    assert intake.take(saved(one)) == ["stored"]
    assert intake.row().instances == 1


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_high_throughput_jpeg_2000_is_taken(intake, syntax):
    one = slices(1)[0]
    one.file_meta.TransferSyntaxUID = syntax
    one.PixelData = encapsulate([b"\xff\x4f\xff\x51"])
    one["PixelData"].VR = "OB"
    assert intake.take(saved(one)) == ["stored"]


def test_an_unknown_transfer_syntax_or_class_is_refused(intake):
    one = slices(1)[0]
    with pytest.raises(InstanceRefused, match="unsupported_transfer_syntax"):
        intake.take(saved(one).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.8\0"))
    one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    with pytest.raises(InstanceRefused, match="unsupported_sop_class"):
        intake.take(one)


def test_reports_pictures_and_our_own_objects_are_taken_and_are_no_input(intake):
    report, own = slices(2)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    own.SOPInstanceUID = own_uid("run", "sc")
    assert intake.take(report, own) == ["ignored", "ignored"]
    assert intake.row() is None


def test_a_stable_study_is_one_study_whatever_way_it_came(intake):
    intake.take(*slices(3))
    done = intake.arrivals.mark_complete("default", "1.2.3")
    assert done.run_id is not None
    assert intake.arrivals.mark_complete("default", "1.2.3") == done
    [study], [run] = rows(intake, StudyRow), rows(intake, RunRow)
    assert (study.working_status, study.files, run.status) == ("waiting", 3, "queued")


def test_a_study_of_which_nothing_came_is_not_there(intake):
    assert intake.arrivals.mark_complete("default", "9.9").arrival_id is None


def test_a_study_is_due_when_it_was_quiet_or_has_what_the_pacs_holds(tmp_path):
    quiet, patient = Intake(tmp_path / "a", {"quiet_s": 0.0}), Intake(tmp_path / "b")
    for intake in (quiet, patient):
        intake.take(*slices(2))
    assert quiet.settling.due() == [quiet.row().id]
    assert patient.settling.due() == []
    patient.arrivals.expect("default", "1.2.3", 3)
    assert patient.settling.due() == []
    patient.arrivals.expect("default", "1.2.3", 2)
    assert patient.settling.due() == [patient.row().id]
    for intake in (quiet, patient):
        intake.database.close()


def test_no_room_is_said_and_leaves_nothing(tmp_path):
    intake = Intake(tmp_path, {"reserve_bytes": 1 << 60})
    with pytest.raises(StoreFull):
        intake.take(*slices(1))
    assert (intake.originals(), intake.spooled(), intake.row()) == (0, [], None)
    intake.database.close()


def test_a_disk_that_fills_while_an_instance_comes_is_said_and_leaves_nothing(intake):
    class FullDisk:
        def __init__(self, data):
            self._pieces = [data]

        def read(self, _size):
            if not self._pieces:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._pieces.pop()

    with pytest.raises(StoreFull):
        intake.arrivals.receive_instance(FullDisk(saved(slices(1)[0])), SOURCE)
    assert (intake.originals(), intake.spooled(), intake.row()) == (0, [], None)


def test_an_instance_beyond_the_limit_is_refused(tmp_path):
    intake = Intake(tmp_path, {"max_instance_bytes": 100})
    with pytest.raises(InstanceRefused, match="instance_too_large"):
        intake.take(*slices(1))
    assert (intake.originals(), intake.spooled()) == (0, [])
    intake.database.close()


def test_many_at_once_lose_and_double_nothing(intake):
    files = [saved(one) for uid in ("1.2.3", "1.2.4") for one in slices(12, series=uid, StudyInstanceUID=uid)]
    outcomes = []
    threads = [
        threading.Thread(target=lambda part=part: outcomes.extend(intake.take(*part)))
        for part in (files[::4], files[1::4], files[2::4], files[3::4], files[::2], files[1::2])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("stored"), outcomes.count("known")) == (24, 24)
    assert intake.originals() == 24
    with intake.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ArrivedInstanceRow)) == 24


def test_the_sweep_keeps_what_has_arrived_and_removes_what_was_made_ahead_of_time(tmp_path):
    service = compose(migrated(tmp_path, leftover_s=0.0))
    for one in slices(3):
        service.arrivals.receive_instance(saved(one), SOURCE)
    reserved = sum(1 for _ in service.store.list("originals"))
    assert Leftovers(service.settings, service.database, service.store).remove() == reserved - 3
    assert {stored.size_bytes > 0 for stored in service.store.list("originals")} == {True}
    assert service.arrivals.receive_instance(saved(slices(4)[3]), SOURCE).outcome == "stored"
    service.close()
    assert sum(1 for _ in service.store.list("originals")) == 4
