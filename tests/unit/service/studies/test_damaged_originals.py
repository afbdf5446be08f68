"""What the store holds of a study has been altered or has gone: a fault with a name, and two ways to mend it."""

import hashlib
import shutil

import pytest
from sqlalchemy import select, update

from med3d_service.custody.ledger import Ledger
from med3d_service.custody.leftovers import Leftovers
from med3d_service.processes.api import compose
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.starting import requeue
from med3d_service.storage.sealed import SealedReader
from med3d_service.storage.tables import RunRow, StudyRow, UploadRow
from med3d_service.studies.original_names import original_name
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.working_copy.courier import sandbox_of
from med3d_service.trust.audit.tables import AuditRow
from rig.dicom.uploads import CONTENT_TYPE, dicom_files, files_form, named, zip_of
from rig.service.couriers import courier_of
from rig.service.earlier import sealed_nameless
from rig.service.parts import migrated
from rig.service.work import BUNDLE

STUDY = files_form(("study.zip", zip_of(named(dicom_files()))))


@pytest.fixture
def service(tmp_path):
    made = compose(migrated(tmp_path, leftover_s=0.0))
    with made.database.write() as session:
        register_bundles(session, [BUNDLE])
    yield made
    made.close()


@pytest.fixture
def courier(service):
    made = courier_of(service, sandbox_of(service.settings))
    yield made
    made.sandbox.close()


def send(service, body=STUDY):
    form = StudyForm(
        CONTENT_TYPE, service.settings.spool_dir, service.keys.originals, "default", Meter(Limits.of(service.settings))
    )
    form.write(body)
    taken = service.recorder.record("default", *form.finish())
    form.discard()
    return taken


def original(service):
    with service.database.read() as session:
        return service.store.local_path(session.scalars(select(UploadRow.key)).one())


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def run_of(service, run_id):
    with service.database.read() as session:
        return session.scalars(select(RunRow).where(RunRow.id == run_id)).one()


def working_copy(service):
    with service.database.read() as session:
        return session.scalars(select(StudyRow.working_status)).one()


def ledger(service):
    return Ledger(service.settings, service.database, service.store).check(digests=True).counts


@pytest.mark.parametrize("damage", [flip_a_byte, lambda path: path.unlink()], ids=["altered", "gone"])
def test_a_damaged_original_fails_its_run_by_name_and_refuses_nobodys_study(service, courier, damage):
    taken = send(service)
    damage(original(service))
    assert courier.copy_next()
    run = run_of(service, taken.run_id)
    assert (run.status, run.failure["code"], run.refusal) == ("failed", "original_damaged", None)
    assert "backup" in run.failure["reason"]
    assert not courier.copy_next(), "it is not tried for ever"
    assert set(ledger(service)) <= {"original_altered", "original_missing"}
    assert ledger(service)


def test_an_original_that_was_brought_back_is_copied_when_its_run_is_requeued(service, courier, tmp_path):
    taken = send(service)
    shutil.copy(original(service), tmp_path / "backup")
    flip_a_byte(original(service))
    courier.copy_next()
    shutil.copy(tmp_path / "backup", original(service))
    with service.database.write() as session:
        again = requeue(session, session.scalars(select(RunRow).where(RunRow.id == taken.run_id)).one()).id
    assert courier.copy_next()
    assert (working_copy(service), run_of(service, again).status) == ("ready", "queued")
    assert ledger(service) == {}


def test_a_study_whose_original_is_damaged_is_taken_once_more_when_it_is_sent_again(service, courier):
    taken = send(service)
    flip_a_byte(original(service))
    courier.copy_next()
    again = send(service)
    assert (again.study_id, again.known) == (taken.study_id, False)
    assert run_of(service, taken.run_id).superseded_by == again.run_id
    assert courier.copy_next()
    assert (working_copy(service), run_of(service, again.run_id).status) == ("ready", "queued")
    assert ledger(service) == {}
    Leftovers(service.settings, service.database, service.store).remove()
    assert len(list(service.store.list("originals"))) == 1, "the damaged container went"


# --- swapped ---

OTHER = files_form(("study.zip", zip_of(named(dicom_files(series="other", PatientID="P-2", StudyInstanceUID="1.2.9")))))


def uploads(service):
    with service.database.read() as session:
        return list(session.scalars(select(UploadRow).order_by(UploadRow.id)))


def path_of(service, upload):
    return service.store.local_path(upload.key)


def swap(service):
    first, second = (path_of(service, upload) for upload in uploads(service))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def record_what_lies_there(service):
    """What a writer of the database would do for the store's."""
    with service.database.write() as session:
        for upload in uploads(service):
            sha256 = hashlib.sha256(path_of(service, upload).read_bytes()).hexdigest()
            session.execute(update(UploadRow).where(UploadRow.id == upload.id).values(sha256=sha256))


def as_earlier_releases_sealed(service):
    key = service.keys.originals
    for upload in uploads(service):
        path = path_of(service, upload)
        with SealedReader(path, key, original_name(upload.id, "default"), upload.sha256) as reader:
            plaintext = reader.readall()
        sealed_nameless(path, plaintext, key)
    record_what_lies_there(service)


def test_two_swapped_originals_never_reach_a_worker(service, courier):
    runs = [send(service).run_id, send(service, OTHER).run_id]
    swap(service)
    record_what_lies_there(service)
    while courier.copy_next():
        pass
    assert [run_of(service, run_id).failure["code"] for run_id in runs] == ["original_damaged"] * 2
    assert list(service.store.list("working")) == []
    with service.database.read() as session:
        alerts = session.scalars(select(AuditRow.detail).where(AuditRow.action == "alert")).all()
    assert alerts == ['{"code":"original_damaged"}'] * 2


def test_originals_of_an_earlier_release_are_copied_as_long_as_they_are_the_recorded_ones(service, courier):
    runs = [send(service).run_id, send(service, OTHER).run_id]
    as_earlier_releases_sealed(service)
    while courier.copy_next():
        pass
    assert [run_of(service, run_id).status for run_id in runs] == ["queued"] * 2
    assert len(list(service.store.list("working"))) == 2


def test_swapped_originals_of_an_earlier_release_are_not_the_recorded_ones(service, courier):
    runs = [send(service).run_id, send(service, OTHER).run_id]
    as_earlier_releases_sealed(service)
    swap(service)
    while courier.copy_next():
        pass
    assert [run_of(service, run_id).failure["code"] for run_id in runs] == ["original_damaged"] * 2
