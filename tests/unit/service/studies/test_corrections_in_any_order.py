"""Corrections in any order of events leave not one object under the old name in an Orthanc."""

import pytest
from sqlalchemy import select

from med3d_contract.results import RunStatus
from med3d_service.network.hl7.messages import read_header, read_updates
from med3d_service.problems import ServiceError
from med3d_service.processes.hl7 import corrector
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.sending import NotDeliveredError
from med3d_service.runs import transitions
from med3d_service.runs.bundles import register_bundles
from med3d_service.runs.starting import start_run
from med3d_service.storage.arrival_tables import AppraisalRow
from med3d_service.storage.tables import BundleRow, DeliveryRow, RunRow, StudyRow
from med3d_service.studies.arrivals.clock import StabilityClock
from rig.service.corrected import PACS, PATIENCE, RIGHT, WRONG, DeliveringWard, modified, study
from rig.service.couriers import SandboxInProcess
from rig.service.parts import LEASES, completed, worker
from rig.service.work import BUNDLE


@pytest.fixture
def ward(tmp_path):
    made = DeliveringWard(tmp_path, sandbox=SandboxInProcess())
    yield made
    made.close()


class Killed(BaseException):
    """The deliverer dies."""


def end_with(error):
    def end():
        raise error

    return end


def answered(ward, *datasets):
    ward.send(*datasets, source=PACS)
    return ward.answer()


@pytest.mark.parametrize("error", [NotDeliveredError("peer_away:ReadTimeout"), Killed()])
def test_what_a_peer_has_and_never_acknowledged_is_taken_back(ward, error):
    answered(ward, *study(**WRONG))
    ward.plan()
    ward.archive.sends = [end_with(error)]
    try:
        ward.deliverer.deliver_next()
    except Killed:
        ward.change_deliveries("sending", lease_until=0.0)
    assert ward.archive.names() == ["Doe^Jane"]
    answered(ward, *study(**RIGHT))
    assert ward.deliver() == ["Roe^Rita"]


def test_what_a_peer_stores_after_it_was_looked_for_is_taken_back(ward):
    answered(ward, *study(**WRONG))
    ward.plan()
    ward.archive.sends = [end_with(NotDeliveredError("peer_away:ReadTimeout"))]
    ward.deliverer.deliver_next()
    late, ward.archive.objects = ward.archive.objects, []  # it hangs, with what it was sent
    answered(ward, *study(**RIGHT))
    assert ward.deliver() == ["Roe^Rita"]
    assert ward.faults()[0] == ("waiting", "identity_corrected:looked_once")
    ward.archive.objects += late
    assert ward.deliver() == ["Roe^Rita"]
    assert ward.faults() == [("delivered", "identity_corrected"), ("delivered", None)]


@pytest.mark.parametrize("ending", [{"status": "stored", "next_try_at": 2e9}, {"status": "dead", "fault": "peer_away"}])
def test_what_waits_for_a_commitment_or_a_person_is_taken_back(ward, ending):
    answered(ward, *study(**WRONG))
    ward.deliver()
    ward.change_deliveries("delivered", **ending)
    answered(ward, *study(**RIGHT))
    assert ward.deliver() == ["Roe^Rita"]


def appraised(ward, *eligible):
    """Let workers have said of each version which series can be analysed; whether the late one got a run."""
    with ward.database.write() as session:
        for row, series in zip(session.scalars(select(AppraisalRow)).all(), eligible, strict=True):
            row.eligible = [series]
    return StabilityClock(ward.database, ward.broker, ward.settling).conclude_late()


def two_versions(ward):
    """A study that was answered, and once more with late images; the first answer."""
    first = answered(ward, *study(**WRONG))
    ward.deliver()
    ward.send(*study(5, "late", **WRONG), source=PACS)
    assert appraised(ward, "one", "another")
    ward.answer()
    assert ward.deliver() == ["Doe^Jane"] * 2
    return first


def retried(ward, run_id):
    with ward.database.write() as session:
        delivery = session.scalars(select(DeliveryRow).where(DeliveryRow.run_id == run_id)).one()
        return outbox.retry(session, delivery.id, PATIENCE)


def test_an_earlier_version_of_a_corrected_study_is_withdrawn_with_it(ward):
    first = two_versions(ward)
    answered(ward, *study(**RIGHT), *study(5, "late", **RIGHT))
    assert ward.deliver() == ["Roe^Rita"]
    with pytest.raises(ServiceError, match="identity_corrected"):
        retried(ward, first)
    assert ward.studies_of("patient_id", "P-1") == []


def say(ward, event, *segments):
    head = f"MSH|^~\\&|HIS|HOSP|MED3D|MRI|20260105||ADT^{event}|M-1|P|2.5"
    message = "\r".join((head, f"EVN|{event}|20260105", *segments, "")).encode()
    corrector(ward)(read_updates(read_header(message), message), "HIS", "127.0.0.1")


def predict(ward):
    """Let the answers that are made anew be predicted."""
    with ward.database.write() as session:
        for run in transitions.claim_predict(session, worker(), 5, LEASES):
            transitions.store_outcome(session, run.id, completed(run.attempt), LEASES)


MERGE = ("A40", "PID|1||P-2^^^H||Roe^Rita||19610203", "MRG|P-1^^^H")


def test_an_earlier_version_of_a_merged_patients_study_is_withdrawn_with_it(ward):
    first = two_versions(ward)
    say(ward, *MERGE)
    predict(ward)
    assert ward.deliver() == ["Roe^Rita"]
    with pytest.raises(ServiceError, match="identity_corrected"):
        retried(ward, first)


def test_an_old_update_of_a_merged_patient_brings_them_not_back(ward):
    answered(ward, *study(**WRONG))
    ward.deliver()
    say(ward, *MERGE)
    predict(ward)
    say(ward, "A08", "PID|1||P-1^^^H||Doe^Jane||19700102")
    predict(ward)
    assert ward.deliver() == ["Roe^Rita"]
    assert len(ward.runs()) == 2


def test_answers_by_several_bundles_are_all_taken_back(ward):
    answered(ward, *study(**WRONG))
    other = BUNDLE.model_copy(update={"digest": "c" * 64, "version": "2"})
    with ward.database.write() as session:
        register_bundles(session, [other])
        run = session.scalars(select(RunRow)).one()
        held = session.scalars(select(StudyRow)).one()
        again = start_run(session, held, session.get_one(BundleRow, other.digest), priority=None).run
        again.status, again.result, again.decision = RunStatus.COMPLETED, run.result, run.decision
        again.finished_at = run.finished_at
        session.flush()
        outbox.plan_run(session, again, [ward.destination], PATIENCE)
    assert ward.deliver() == ["Doe^Jane"] * 2
    answered(ward, *study(**RIGHT))
    assert ward.deliver() == ["Roe^Rita"]


@pytest.mark.parametrize("hurried", [0, 1])
def test_of_two_unread_studies_of_the_same_pixels_the_later_one_counts_whichever_is_read_first(ward, hurried):
    for images in (study(**WRONG), modified(**RIGHT)):
        ward.take(*images, source=PACS)
        ward.arrivals.mark_complete("default", images[0].StudyInstanceUID)
    with ward.database.write() as session:
        studies = session.scalars(select(StudyRow).order_by(StudyRow.seq)).all()
        studies[hurried].working_priority -= 1
    ward.copy()
    ward.answer()
    assert ward.deliver() == ["Roe^Rita"]
    assert ward.studies_of("patient_id", "P-1") == []


def test_a_copy_that_holds_the_late_series_too_takes_the_place_of_the_study(ward):
    answered(ward, *study(**WRONG))
    ward.deliver()
    ward.send(*study(5, "flair", **WRONG), source=PACS)
    assert not appraised(ward, "one", "one")  # nothing else can be analysed: the answer stands
    answered(ward, *modified(**RIGHT), *modified(5, "flair", **RIGHT))
    assert ward.deliver() == ["Roe^Rita"]
    assert ward.studies_of("patient_id", "P-1") == []
    assert not appraised(ward, "one", "another")


def test_the_original_of_a_copy_without_identity_takes_not_its_place(ward):
    copy = answered(ward, *modified(PatientID="ANON-1", PatientName="ANON", PatientIdentityRemoved="YES"))
    answered(ward, *study(**WRONG))
    assert ward.study_of(copy).corrected_by is None


def test_a_patient_who_is_corrected_to_and_fro_has_one_name_each_time(ward):
    for who in (WRONG, RIGHT, WRONG, RIGHT):
        answered(ward, *study(**who))
        assert ward.deliver() == [who["PatientName"]]


def renumbered(**identity):
    """The same images under the same Study Instance UID, with instances of their own."""
    made = modified(**identity)
    for one in made:
        one.StudyInstanceUID = study()[0].StudyInstanceUID
    return made


def test_a_study_that_keeps_its_uid_and_gets_other_instances_of_another_patient_leaves_nothing_of_the_first(ward):
    first = answered(ward, *study(**WRONG))
    ward.deliver()
    for _ in range(2):  # two patients, until all of it is sent again
        ward.send(*renumbered(**RIGHT), source=PACS)
        StabilityClock(ward.database, ward.broker, ward.settling).conclude_late()
    ward.copy()
    ward.answer()
    assert ward.deliver() == ["Roe^Rita"]
    with pytest.raises(ServiceError, match="identity_corrected"):
        retried(ward, first)
    assert ward.study_of(first).corrected_by is not None
