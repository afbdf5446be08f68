"""A patient corrected at the PACS: the answer is made anew under the new identity, and nothing goes out under the old."""

import json

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from sqlalchemy import select

from med3d_contract.results import Verdict, VerdictRequest
from med3d_service.problems import ServiceError
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.deliverer import DestinationLoop
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.library import ReportLibrary, ReportUnavailableError
from med3d_service.runs.starting import start_run
from med3d_service.runs.verdicts import give_verdict
from med3d_service.storage.tables import BundleRow, DeliveryRow, IdentifierRow, RunRow, StudyRow
from med3d_service.studies.own_objects import own_uid
from med3d_service.trust.access import Caller, Role
from med3d_service.trust.audit.tables import AuditRow
from rig.service.arriving import slices
from rig.service.corrected import (
    PACS,
    PATIENCE,
    PEER,
    RIGHT,
    SCANNER,
    SIDE,
    WRONG,
    DeliveringWard,
    Peer,
    modified,
    study,
)
from rig.service.couriers import SandboxInProcess
from rig.service.ward import Ward


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path, sandbox=SandboxInProcess())
    made.peer = Peer()
    made.deliverer = DestinationLoop(
        made.settings, made.database, made.trail, PEER, ReportLibrary(made).content, sender=made.peer
    )
    yield made
    made.close()


def planned(ward):
    with ward.database.write() as session:
        return outbox.plan(session, [PEER], PATIENCE)


def delivered(ward):
    """Plan and send all that is due."""
    planned(ward)
    while ward.deliverer.deliver_next():
        pass
    return ward.peer.names()


def faults(ward):
    with ward.database.read() as session:
        return [(row.status, row.fault) for row in session.scalars(select(DeliveryRow).order_by(DeliveryRow.seq))]


def test_the_answer_goes_out_anew_under_the_new_name_and_never_again_under_the_old(ward):
    ward.send(*study(**WRONG), source=PACS)
    old = ward.answer()
    assert delivered(ward) == ["Doe^Jane"]
    ward.send(*study(**RIGHT), source=PACS)
    new = ward.answer()
    assert delivered(ward) == ["Doe^Jane", "Roe^Rita"]
    report = ward.peer.objects[1]
    assert (report.PatientID, report.PatientBirthDate) == ("P-2", "19610203")
    assert report.SOPInstanceUID == own_uid(new, "sr")
    (before,) = report.PredecessorDocumentsSequence
    (series,) = before.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == own_uid(old, "sr")

    with ward.database.write() as session:
        delivery = session.scalars(select(DeliveryRow).where(DeliveryRow.run_id == old)).one()
        with pytest.raises(ServiceError, match="identity_corrected"):
            outbox.retry(session, delivery.id, PATIENCE)
        with pytest.raises(ServiceError, match="identity_corrected"):
            outbox.plan_run(session, session.scalars(select(RunRow).where(RunRow.id == old)).one(), [PEER], PATIENCE)
    for kind in (Kind.SR, Kind.PDF, Kind.EVENT):
        with pytest.raises(ReportUnavailableError, match="identity_corrected"):
            ReportLibrary(ward).content(old, kind)


@pytest.fixture
def delivering(tmp_path):
    made = DeliveringWard(tmp_path, sandbox=SandboxInProcess())
    yield made
    made.close()


def test_what_went_out_before_we_heard_of_a_correction_is_taken_back(delivering):
    ward = delivering
    ward.send(*study(**WRONG), source=PACS)
    old = ward.answer()
    ward.deliver()
    ward.send(*study(**RIGHT), source=PACS)
    ward.answer()
    ward.archive.away = True
    ward.deliver()
    assert ward.archive.names() == ["Doe^Jane", "Roe^Rita"]
    assert ward.faults() == [("waiting", "identity_corrected"), ("delivered", None)]
    ward.archive.away = False
    ward.deliver()
    assert ward.archive.names() == ["Roe^Rita"]
    assert ward.faults() == [("delivered", "identity_corrected"), ("delivered", None)]
    ward.deliver()
    assert ward.archive.asked == [(old, "sr")] * 2
    with ward.database.read() as session:
        done = [row.action for row in session.scalars(select(AuditRow).order_by(AuditRow.seq))]
    assert done.count("erase") == 1


def test_an_answer_that_is_under_way_as_its_patient_is_corrected_is_taken_back(delivering):
    ward = delivering
    ward.send(*study(**WRONG), source=PACS)
    ward.answer()
    ward.archive.sends = [lambda: ward.send(*study(**RIGHT), source=PACS)]
    ward.deliver()
    ward.deliver()
    ward.answer()
    ward.deliver()
    assert ward.archive.names() == ["Roe^Rita"]


@pytest.mark.parametrize("identity", [WRONG, RIGHT])
def test_images_in_another_encoding_are_the_same_images(ward, identity):
    first, again = study(**WRONG), study(**identity)
    for one in first:
        one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ward.take(*first)
    assert ward.take(*again) == ["known" if identity is WRONG else "stored"] * 4
    assert ward.row().fault is None


def recompressed(datasets, syntax, **encoding):
    """As a PACS sends them that keeps its archive, or what leaves it, in another transfer syntax."""
    for one in datasets:
        if syntax.is_encapsulated:
            one.compress(syntax, generate_instance_uid=False, **encoding)
        elif syntax == ExplicitVRBigEndian:
            one["PixelData"].VR = "OW"
            one.PixelData = one.pixel_array.astype(">u2").tobytes()
        one.file_meta.TransferSyntaxUID = syntax
    return datasets


OTHER_SYNTAXES = [
    RLELossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


@pytest.mark.parametrize("syntax", OTHER_SYNTAXES, ids=lambda one: one.name)
def test_a_correction_counts_in_whatever_transfer_syntax_the_pacs_sends_it(ward, syntax):
    ward.take(*study(**WRONG), source=PACS)
    assert ward.take(*recompressed(study(**WRONG), syntax)) == ["known"] * 4  # a copy of the same patient is no news
    assert ward.take(*recompressed(study(**RIGHT), syntax), source=PACS) == ["stored"] * 4
    assert (ward.row().fault, ward.row().instances) == (None, 4)


def test_a_correction_that_comes_compressed_goes_out_under_the_new_name_alone(ward):
    ward.send(*study(**WRONG), source=PACS)
    old = ward.answer()
    ward.send(*recompressed(study(**RIGHT), JPEG2000Lossless), source=PACS)
    assert delivered(ward) == []
    new = ward.answer()
    assert delivered(ward) == ["Roe^Rita"]
    assert ward.study_of(old).corrected_by == ward.study_of(new).id


def test_a_correction_that_comes_lossy_is_known_by_likeness(ward):
    ward.take(*study(**WRONG), source=PACS)
    lossy = recompressed(study(**RIGHT), JPEG2000, j2k_psnr=[110])
    assert any((one.pixel_array != plain.pixel_array).any() for one, plain in zip(lossy, study(), strict=True))
    assert ward.take(*lossy, source=PACS) == ["stored"] * 4
    assert ward.row().fault is None


@pytest.mark.parametrize(("syntax", "encoding"), [(JPEG2000Lossless, {}), (JPEG2000, {"j2k_psnr": [110]})])
def test_other_pixels_are_other_pixels_however_they_are_packed(ward, syntax, encoding):
    ward.take(*study(**WRONG), source=PACS)
    other = study(**RIGHT)
    for one, shown in zip(other, reversed(study()), strict=True):
        one.PixelData = shown.PixelData
    ward.take(*recompressed(other, syntax, **encoding), source=PACS)
    assert ward.row().fault == "inconsistent_study"


def test_what_no_codec_reads_is_not_taken_for_the_same(ward):
    ward.take(*study(**WRONG), source=PACS)
    broken = recompressed(study(**RIGHT), JPEG2000Lossless)
    for one in broken:
        one.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(40)])
    ward.take(*broken, source=PACS)
    assert ward.row().fault == "inconsistent_study"


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, JPEG2000Lossless], ids=lambda one: one.name)
def test_a_copy_under_other_uids_in_another_transfer_syntax_takes_the_place_of_the_first(ward, syntax):
    ward.send(*study(**WRONG), source=PACS)
    old = ward.answer()
    ward.send(*recompressed(slices(4, "modified", SIDE, StudyInstanceUID="1.2.4", **RIGHT), syntax), source=PACS)
    assert ward.study_of(old).corrected_by == ward.study_of(ward.answer()).id


def judged(ward, run_id, what, reader="Dr. R"):
    """What a person says of an answer, and what lets go again what tells of it."""
    caller = Caller("key", "room", Role.SUBMITTER, clinical=False, site="default", every_site=False, address="::1")
    with ward.database.write() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        given = VerdictRequest(verdict=what, why="seen", reader=reader)
        give_verdict(session, ward.vault, ward.trail, caller, run, given)
        outbox.say_anew(session, run, PATIENCE)


def predecessor(report):
    return report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]


def test_each_verdict_makes_an_sr_in_the_place_of_the_one_before_and_a_correction_follows_the_last(ward):
    ward.send(*study(**WRONG), source=PACS)
    run_id = ward.answer()
    delivered(ward)
    for what in (Verdict.ACCEPTED, Verdict.REJECTED):
        judged(ward, run_id, what)
        with ward.database.read() as session:
            announced = session.scalars(select(DeliveryRow.object_uid)).one()
        delivered(ward)
        assert ward.peer.objects[-1].SOPInstanceUID == announced
    ward.send(*study(**RIGHT), source=PACS)
    ward.answer()
    delivered(ward)
    reports = ward.peer.objects
    assert [one.VerificationFlag for one in reports] == ["UNVERIFIED", "VERIFIED", "UNVERIFIED", "UNVERIFIED"]
    assert [predecessor(one).ReferencedSOPInstanceUID for one in reports[1:]] == [
        one.SOPInstanceUID for one in reports[:-1]
    ]


def test_what_waits_to_be_sent_under_the_old_name_is_held_and_then_dead(ward):
    ward.send(*study(**WRONG), source=PACS)
    ward.answer()
    planned(ward)
    ward.take(*study(**RIGHT)[:1], source=PACS)  # the first of the corrected images
    assert delivered(ward) == []
    assert faults(ward) == [("waiting", "identity_in_correction")]
    ward.send(*study(**RIGHT)[1:], source=PACS)
    with ward.database.write() as session:
        session.scalars(select(DeliveryRow)).one().next_try_at = 0.0
    assert delivered(ward) == []
    assert faults(ward) == [("dead", "identity_corrected")]


def test_the_old_identity_is_kept_encrypted_and_found_by_nobody_and_the_change_is_audited(ward):
    ward.send(*study(**WRONG), source=PACS)
    old = ward.study_of(ward.answer())
    ward.send(*study(**RIGHT), source=PACS)
    new = ward.study_of(ward.answer())
    assert ward.studies_of("patient_id", "P-1") == []
    assert ward.studies_of("patient_id", "P-2") == [new.id]
    with ward.database.read() as session:
        assert ward.vault.read(session, old.id, "patient_name") is None
        assert ward.vault.read(session, old.id, "former_patient_name") == "Doe^Jane"
        kept = session.scalars(select(IdentifierRow.ciphertext)).all()
        assert not any(b"Doe" in one or b"Roe" in one for one in kept)
        assert session.scalars(select(StudyRow.corrected_by).where(StudyRow.id == old.id)).one() == new.id
        told = [row for row in session.scalars(select(AuditRow)) if row.action == "change"]
        assert [(row.object_id, json.loads(row.detail)["former_study"], row.actor) for row in told] == [
            (new.id, old.id, "ward")
        ]
        bundle = session.scalars(select(BundleRow)).one()
        withdrawn = session.scalars(select(StudyRow).where(StudyRow.id == old.id)).one()
        with pytest.raises(ServiceError, match="identity_corrected"):
            start_run(session, withdrawn, bundle, priority=None)


def test_a_scanner_that_sends_the_old_name_again_changes_nothing_and_the_pacs_may_take_it_back(ward):
    ward.send(*study(**WRONG), source=SCANNER)
    ward.answer()
    ward.send(*study(**RIGHT), source=PACS)
    ward.answer()
    assert ward.send(*study(**WRONG), source=SCANNER) == ["known"] * 4
    assert len(ward.runs()) == 2
    assert ward.send(*study(**WRONG), source=PACS) == ["stored"] * 4
    ward.answer()
    assert delivered(ward)[-1] == "Doe^Jane"
    assert ward.studies_of("patient_id", "P-2") == []
    assert [superseded for _, _, superseded, _ in ward.runs()] == [True, True, False]


def test_half_a_correction_is_two_patients_until_the_rest_has_come(ward):
    ward.send(*study(**WRONG), source=PACS)
    ward.answer()
    ward.send(*study(**RIGHT)[:2], source=PACS)
    assert ward.row().fault == "several_patients"
    assert delivered(ward) == []
    ward.send(*study(**RIGHT)[2:], source=PACS)
    assert ward.row().fault is None
    ward.answer()
    assert delivered(ward) == ["Roe^Rita"]


def test_a_study_that_comes_with_other_uids_is_known_by_its_pixels(ward):
    ward.send(*study(**WRONG), source=PACS)
    old = ward.answer()
    planned(ward)
    ward.send(*modified(**RIGHT), source=PACS)
    new = ward.answer()
    assert delivered(ward) == ["Roe^Rita"]
    (before,) = ward.peer.objects[0].PredecessorDocumentsSequence
    assert before.StudyInstanceUID == "1.2.3"
    assert faults(ward)[0] == ("dead", "identity_corrected")
    assert ward.study_of(old).corrected_by == ward.study_of(new).id
    assert ward.studies_of("patient_id", "P-1") == ward.studies_of("study_uid", "1.2.3") == []


def test_a_copy_without_identity_takes_nobodys_place(ward):
    ward.send(*study(**WRONG))
    old = ward.answer()
    ward.send(*modified(PatientID="ANON-1", PatientName="ANON", PatientIdentityRemoved="YES"))
    assert ward.study_of(old).corrected_by is None
    assert len(ward.runs()) == 2


@pytest.mark.parametrize(
    "header", [{"StationName": "MR2"}, {"PatientName": "Doe^Jane^^", "SpecificCharacterSet": "ISO_IR 192"}]
)
def test_other_headers_of_the_same_patient_correct_nothing(ward, header):
    ward.send(*study(**WRONG))
    assert ward.send(*study(**WRONG | header)) == ["known"] * 4
    assert len(ward.runs()) == 1
