"""What reports say: the right numbers, nothing that they must not, in formats that others' tools accept."""

import base64
import dataclasses
import io
import json
import subprocess
import warnings
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from fhir.resources.R4B.bundle import Bundle
from highdicom.seg import segread
from pydicom import dcmread
from pydicom.uid import EnhancedMRImageStorage
from sqlalchemy import update

from med3d_contract.pictures import BrainMask
from med3d_contract.results import SIMULATED_LABELS, Interval, Reason, Sdmt, Verdict, VerdictView
from med3d_pipeline.inference import manifest
from med3d_service.results.kinds import Kind
from med3d_service.results.reports import codes
from med3d_service.results.reports.dicom_objects import NoDicomStudyError
from med3d_service.results.reports.encapsulated import encapsulated_pdf, secondary_capture
from med3d_service.results.reports.event import event_json
from med3d_service.results.reports.facts import FactsReader
from med3d_service.results.reports.fhir import fhir_json
from med3d_service.results.reports.lineage import handed_on
from med3d_service.results.reports.oru import result_message
from med3d_service.results.reports.printed_page.cohort_position import position_by_age
from med3d_service.results.reports.printed_page.page import page_pdf
from med3d_service.results.reports.seg import NoSegmentationError, brain_segmentation
from med3d_service.results.reports.segmented import segmented_brain
from med3d_service.results.reports.sr import structured_report
from med3d_service.runs import transitions
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.tables import RunRow
from med3d_service.studies.own_objects import own_uid
from rig.service.answers import simulated_sdmt
from rig.service.facts import PATIENT, SOURCE, STUDY, facts, refused_facts, segmented_head
from rig.service.parts import LEASES, add_run, open_database, refused, worker
from rig.service.stores import MemoryStore
from rig.service.work import result

DICOM = {"sr": structured_report, "pdf": encapsulated_pdf, "sc": secondary_capture}
MEASURED = Sdmt(estimate=51.5, interval=Interval(level=0.9, lower=40, upper=63), evidence="measured SDMT of 900 people")


def read(data):
    return dcmread(io.BytesIO(data))


def tree(dataset, found=None):
    """All content items of an SR as (meaning of the name, value)."""
    found = [] if found is None else found
    for item in dataset.get("ContentSequence", []):
        name = item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""
        if item.ValueType == "NUM":
            measured = item.MeasuredValueSequence[0]
            found.append((name, float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue))
        elif item.ValueType == "CODE":
            found.append((name, item.ConceptCodeSequence[0].CodeMeaning))
        elif item.ValueType == "TEXT":
            found.append((name, item.TextValue))
        tree(item, found)
    return found


def text_of(pdf):
    document = pypdfium2.PdfDocument(pdf)
    try:
        assert len(document) == 1, "it is one page"
        return document[0].get_textpage().get_text_bounded()
    finally:
        document.close()


def calibrated_facts():
    answer = result()
    assessment = answer.assessment.model_copy(update={"calibrated_for": "Ward 3"})
    return facts(result=answer.model_copy(update={"assessment": assessment}))


# --- A site's calibration ---


def test_every_report_says_whose_heads_the_interval_is_calibrated_with():
    site, plain = calibrated_facts(), facts()
    assert ("Site whose healthy heads the estimate was calibrated with", "Ward 3") in tree(
        read(structured_report(site))
    )
    assert any(
        "Ward 3" in str(part.get("valueString"))
        for part in json.loads(fhir_json(site))["entry"][1]["resource"]["component"]
    )
    assert json.loads(event_json(site, "e"))["brain_age"]["calibrated_for"] == "Ward 3"
    assert "calibrated on healthy heads of Ward 3" in text_of(page_pdf(site))
    assert "calibrated on the reference cohort" in text_of(page_pdf(plain))
    assert json.loads(event_json(plain, "e"))["brain_age"]["calibrated_for"] is None
    assert "Ward 3" not in fhir_json(plain).decode()


def test_the_percentile_among_a_site_s_heads_has_a_code_of_its_own():
    names = [{name for name, *_ in tree(read(structured_report(one)))} for one in (calibrated_facts(), facts())]
    site, training = codes.OUT_OF_SITE.meaning, codes.OUT_OF_DISTRIBUTION.meaning
    assert [(site in found, training in found) for found in names] == [(True, False), (False, True)]


def test_a_calibrated_report_is_valid_fhir():
    Bundle.model_validate_json(fhir_json(calibrated_facts()))


# --- DICOM ---


@pytest.mark.parametrize("kind", DICOM)
@pytest.mark.parametrize("made", [facts, refused_facts], ids=["completed", "refused"])
def test_dciodvfy_finds_no_error(tmp_path, kind, made):
    path = tmp_path / "object.dcm"
    path.write_bytes(DICOM[kind](made(predecessor="an-older-run")))
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    assert "Error" not in said.stdout + said.stderr, said.stderr


@pytest.mark.parametrize("kind", DICOM)
def test_made_again_an_object_has_the_same_bytes(kind):
    assert DICOM[kind](facts()) == DICOM[kind](facts())


@pytest.mark.parametrize("kind", DICOM)
def test_an_object_is_filed_with_the_patient_and_the_study(kind):
    dataset = read(DICOM[kind](facts()))
    assert str(dataset.PatientName) == PATIENT.name
    assert (dataset.PatientID, dataset.IssuerOfPatientID, dataset.PatientSex) == ("PAT-0042", "HOSPITAL", "F")
    assert (dataset.StudyInstanceUID, dataset.AccessionNumber) == (STUDY.study_uid, STUDY.accession_number)
    assert dataset.SOPInstanceUID == own_uid(facts().run_id, kind)
    assert (dataset.ContentDate, dataset.ContentTime[:6], dataset.TimezoneOffsetFromUTC) == (
        "20260105", "113000", "+0200",
    )  # fmt: skip


@pytest.mark.parametrize("kind", DICOM)
def test_a_pacs_finds_in_an_object_what_it_shows_of_the_study(kind):
    dataset = read(DICOM[kind](facts()))
    assert (dataset.StudyDescription, dataset.InstitutionName, dataset.PatientAge) == (
        "MR Schädel nativ", "Haus Süd", "049Y",
    )  # fmt: skip
    assert (dataset.OtherPatientIDs, dataset.RequestedProcedureDescription) == ("OLD-7", "MRI head")
    assert str(dataset.RequestingPhysician) == "Ward^Seven"
    assert (dataset.SeriesDescription, dataset.ContentQualification) == ("Brain age analysis", "RESEARCH")


@pytest.mark.parametrize("kind", DICOM)
def test_without_a_time_zone_of_the_images_times_are_the_services(kind):
    plain = facts(study=dataclasses.replace(STUDY, attributes={"patient_age": "49", "timezone_offset": "MEZ"}))
    dataset = read(DICOM[kind](plain))
    assert (dataset.ContentTime[:6], dataset.TimezoneOffsetFromUTC) == ("093000", "+0000")
    assert "PatientAge" not in dataset


@pytest.mark.parametrize(
    ("patient", "study"),
    [
        ({"birth_date": "unknown"}, {"study_time": "8:15", "study_date": "2020.07.23"}),
        ({"name": "A^B^C^D^E^F^G"}, {}),
        ({"patient_id": "X" * 80, "name": "Ваня^Δ=山田^太郎"}, {"accession_number": "A" * 40}),
        ({"patient_id": "", "name": "", "birth_date": "", "issuer": ""}, {"study_id": "", "accession_number": ""}),
    ],
)
def test_headers_as_scanners_really_write_them_stop_no_report(patient, study):
    odd = facts(patient=dataclasses.replace(PATIENT, **patient), study=dataclasses.replace(STUDY, **study))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, which the service's processes silence
        for make in DICOM.values():
            assert read(make(odd)).StudyInstanceUID == STUDY.study_uid


def test_images_that_were_no_dicom_have_no_objects_but_a_page():
    for make in DICOM.values():
        with pytest.raises(NoDicomStudyError):
            make(facts(study=None, source=None))
    assert "52.0 years" in text_of(page_pdf(facts(study=None, source=None)))


def test_the_sr_holds_the_numbers_with_units_intervals_and_the_model():
    found = tree(read(structured_report(facts())))
    assert ("Brain age", 52.0, "a") in found
    assert ("Lower limit of prediction interval", 44.0, "a") in found
    assert ("Upper limit of prediction interval", 60.0, "a") in found
    assert ("Level of prediction interval", 90.0, "%") in found
    assert ("Brain age gap corrected for age", 2.0, "a") in found
    assert ("Subject Age", 50.0, "a") in found
    assert ("Decision on the estimate", "To be reviewed") in found
    assert ("Reason of the decision", "vendor_outside_calibration: Another vendor.") in found
    assert ("Algorithm Name", "bundle") in found
    assert ("Algorithm Version", "1") in found
    assert ("Algorithm Parameters", f"bundle sha256 {'b' * 64}") in found
    assert ("Intended use", codes.RESEARCH_USE) in found


def test_the_sr_refers_to_the_instances_that_were_used_and_to_its_predecessor():
    report = read(structured_report(facts(predecessor="an-older-run")))
    (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert tuple(item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence) == SOURCE.instance_uids
    (older,) = report.PredecessorDocumentsSequence
    (instance,) = older.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == own_uid("an-older-run", "sr")
    assert older.StudyInstanceUID == STUDY.study_uid
    assert "PredecessorDocumentsSequence" not in read(structured_report(facts()))


def accepted_by(reader, what=Verdict.ACCEPTED):
    at = datetime(2026, 1, 6, 8, 0, tzinfo=UTC)
    return VerdictView(verdict_id="v-1", verdict=what, why="", reader=reader, given_by="key:reading room", given_at=at)


def test_an_sr_is_verified_by_the_person_who_accepted_the_answer_and_names_the_one_before():
    report = read(structured_report(facts(verdict=accepted_by("Dr. R\\Q"), replaces_sr=(facts().run_id, "sr"))))
    assert report.VerificationFlag == "VERIFIED"
    (observer,) = report.VerifyingObserverSequence
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Dr. R Q^", "Haus Süd")
    assert observer.VerificationDateTime == "20260106100000+0200"
    before = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert before.ReferencedSOPInstanceUID == own_uid(facts().run_id, "sr") != report.SOPInstanceUID
    assert report.SeriesInstanceUID != read(structured_report(facts())).SeriesInstanceUID
    assert ("Verdict of a reader on the answer", "Accepted") in tree(report)


@pytest.mark.parametrize("verdict", [accepted_by(" "), accepted_by("Dr. R", Verdict.REJECTED), None])
def test_nobody_has_verified_what_no_named_person_has_accepted(verdict):
    report = read(structured_report(facts(verdict=verdict)))
    assert report.VerificationFlag == "UNVERIFIED"
    assert "VerifyingObserverSequence" not in report


def test_a_refused_runs_sr_says_so_and_holds_no_number():
    report = read(structured_report(refused_facts()))
    found = tree(report)
    assert ("Decision on the estimate", "Refused: no estimate") in found
    assert ("Reason of the decision", "no_t1w_series: No series is T1-weighted. Send an MPRAGE.") in found
    assert all(len(item) == 2 for item in found), "no NUM"
    assert "CurrentRequestedProcedureEvidenceSequence" not in report


def test_the_segmentation_lies_on_the_very_images_that_were_read(tmp_path):
    brain = segmented_head()
    made = valid_segmentation(facts(segmented=brain), tmp_path)
    (segment,) = made.SegmentSequence
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("12738006", "SCT")
    assert (made.FrameOfReferenceUID, made.SeriesNumber, made.Modality) == ("1.2.3.9", 9904, "SEG")
    shown = made.get_pixels_by_source_instance(SOURCE.instance_uids, ignore_spatial_locations=True)[..., 0]
    assert (shown == brain.voxels).all()
    volume = made.get_volume(combine_segments=True)
    assert volume.array.sum() == brain.voxels.sum()
    corner = np.argwhere(brain.voxels)[0][::-1]
    first = (brain.affine @ [*corner, 1])[:3]
    points = volume.map_indices_to_reference(np.argwhere(volume.array))
    assert np.isclose(points, first).all(axis=1).any()


def valid_segmentation(made_of, folder):
    file = brain_segmentation(made_of)
    assert file == brain_segmentation(made_of)
    (folder / "seg.dcm").write_bytes(file)
    checked = subprocess.run(["dciodvfy", folder / "seg.dcm"], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr
    subprocess.run(["dcmdump", "-q", folder / "seg.dcm"], capture_output=True, check=True)
    return segread(io.BytesIO(file))


def test_the_segmentation_of_an_image_of_many_frames_names_those_that_were_read(tmp_path):
    """Of an Enhanced MR image with two echoes, say, whose slices were stored from the other side; the outer ones are empty."""
    one, frames = "1.2.3.4.7.1", (10, 8, 6, 4, 2)
    brain = dataclasses.replace(segmented_head(), instance_uids=(one,) * 5, frame_numbers=frames)
    source = dataclasses.replace(SOURCE, sop_class_uid=EnhancedMRImageStorage, instance_uids=(one,))
    made = valid_segmentation(facts(segmented=brain, source=source), tmp_path)
    lenient = {"ignore_spatial_locations": True, "assert_missing_frames_are_empty": True}
    shown = made.get_pixels_by_source_frame(one, frames[1:], **lenient)[..., 0]
    assert (shown == brain.voxels[1:]).all()
    plain = segread(io.BytesIO(brain_segmentation(facts(segmented=segmented_head()))))
    for keyword in ("PlanePositionSequence", "FrameContentSequence"):
        assert [frame[keyword] for frame in made.PerFrameFunctionalGroupsSequence] == [
            frame[keyword] for frame in plain.PerFrameFunctionalGroupsSequence
        ]
    two = dataclasses.replace(brain, instance_uids=(one, one, one, "1.2.3.4.7.2", "1.2.3.4.7.2"))
    with pytest.raises(NoSegmentationError):
        brain_segmentation(facts(segmented=two, source=source))


def test_without_a_mask_or_images_one_a_slice_there_is_no_segmentation():
    with pytest.raises(NoSegmentationError):
        brain_segmentation(facts())
    mask = BrainMask(
        shape=(2, 2, 2),
        affine=tuple(map(tuple, np.eye(4).tolist())),
        packed_base64=base64.b64encode(zlib.compress(b"\xf0")).decode(),
        slice_uids=("a", "b"),
        frame_of_reference_uid="f",
    )
    originals = {"a": "1.1", "b": "1.2", "f": "1.9"}
    brain = segmented_brain(mask, originals)
    assert (brain.instance_uids, brain.voxels[:, 0, 0].tolist()) == (("1.1", "1.2"), [1, 0])
    assert brain.affine[0, 0] == -1
    framed = mask.model_copy(update={"slice_uids": ("a", "a"), "slice_frames": (2, 1)})
    assert segmented_brain(framed, originals).frame_numbers == (2, 1)
    for changed in (
        {"slice_uids": ("a", "a")},
        {"slice_uids": ("a", "a"), "slice_frames": (2, 2)},
        {"slice_frames": (2,)},
        {"slice_uids": ("a", "unknown")},
        {"frame_of_reference_uid": ""},
        {"packed_base64": base64.b64encode(b"no zlib").decode()},
        {"packed_base64": base64.b64encode(zlib.compress(b"\xf0\0")).decode()},
        {"packed_base64": base64.b64encode(zlib.compress(b"\0")).decode()},
    ):
        assert segmented_brain(mask.model_copy(update=changed), originals) is None
    assert segmented_brain(None, originals) is None


def test_the_secondary_capture_is_the_page():
    dataset = read(secondary_capture(facts()))
    pixels = dataset.pixel_array
    assert pixels.shape == (dataset.Rows, dataset.Columns, 3)
    assert (pixels[10, 10] == (29, 39, 51)).all(), "the header's colour"
    assert (pixels[-5, 5] == 255).all()


def test_the_encapsulated_document_is_the_page():
    dataset = read(encapsulated_pdf(facts()))
    document = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
    assert document == page_pdf(facts())


# --- what must not get out ---


def test_service_and_pipeline_mean_the_same_by_simulated_labels():
    assert SIMULATED_LABELS == manifest.SIMULATED_LABELS


def everything(made):
    """All that every format says, in words."""
    yield text_of(page_pdf(made))
    yield str(tree(read(structured_report(made))))
    yield fhir_json(made).decode()
    yield event_json(made, "id").decode()


def test_an_estimate_from_simulated_labels_is_in_no_format():
    made = facts(result=handed_on(result().model_copy(update={"sdmt": simulated_sdmt()})))
    for said in everything(made):
        assert "47.1" not in said
        assert "SDMT" not in said
        assert "simulated" not in said


def test_an_estimate_from_measured_labels_is_in_every_format_and_is_called_an_estimate():
    made = facts(result=handed_on(result().model_copy(update={"sdmt": MEASURED})))
    page, report, fhir, event = everything(made)
    assert "SDMT, estimated" in page
    assert "('Estimated Symbol Digit Modalities Test score', 51.5, '{points}')" in report
    assert "measured SDMT of 900 people" in report
    assert "Estimated from the image, not measured" in fhir
    assert json.loads(event)["sdmt"]["estimate"] == 51.5


def test_facts_do_not_show_the_patient_in_a_log():
    assert not any(word in repr(facts()) for word in ("Müller", "PAT-0042", "19701112", "ACC-77", "1.2.3.4.5"))


# --- the page ---


def test_the_page_shows_number_interval_decision_position_and_the_research_line():
    said = text_of(page_pdf(facts()))
    for words in (
        "Müller, Änne", "PAT-0042", "1970-11-12, F", "2020-07-23", "ACC-77",
        "52.0 years", "90% interval 44 to 60", "50.0 years", "+2.0 years", "REVIEW", "Another vendor",
        "% have a lower brain age", "RESEARCH USE ONLY", "Not a medical device", "axial", "Image quality",
    ):  # fmt: skip
        assert words in said, words


def test_a_refused_runs_page_says_so_and_shows_no_number():
    said = text_of(page_pdf(refused_facts()))
    assert "REFUSED: no estimate" in said
    assert "No series is T1-weighted" in said
    assert "years" not in said


def test_the_page_does_without_what_is_not_there():
    age = result().brain_age.model_copy(update={"chronological_age": None, "gap": None, "gap_corrected": None})
    bare = result().model_copy(update={"brain_age": age})
    said = text_of(page_pdf(facts(result=bare, pictures=None, cohort=None, quality=None, provenance=None, series=None)))
    assert "52.0 years" in said
    assert text_of(page_pdf(facts(result=bare)))


def test_the_position_by_age_counts_those_of_about_that_age():
    count, lower = position_by_age(result(52.0), facts().cohort)
    assert count == 15
    assert lower == 60, "of the 15 from 43 to 57 years, 9 have an estimate below 52"


# --- FHIR and events ---


@pytest.mark.parametrize(
    "made",
    [facts(), refused_facts(), facts(study=None, source=None, patient=dataclasses.replace(PATIENT, patient_id=""))],
    ids=["completed", "refused", "nifti"],
)
def test_fhir_resources_accepts_the_bundle(made):
    bundle = Bundle.model_validate_json(fhir_json(made))
    kinds = [entry.resource.get_resource_type() for entry in bundle.entry]
    observations = 3 if made.result is not None else 0
    assert kinds == ["DiagnosticReport", *["Observation"] * observations, "Device", "Provenance"]
    assert fhir_json(made) == fhir_json(made)


def test_fhir_says_number_unit_interval_and_patient():
    entries = [entry["resource"] for entry in json.loads(fhir_json(facts()))["entry"]]
    report, brain_age = entries[:2]
    assert brain_age["valueQuantity"] == {
        "value": 52.0, "unit": "years", "system": "http://unitsofmeasure.org", "code": "a",
    }  # fmt: skip
    assert [part["valueQuantity"]["value"] for part in brain_age["component"]] == [44.0, 60.0, 90.0]
    assert report["subject"]["identifier"] == {"value": "PAT-0042", "assigner": {"display": "HOSPITAL"}}
    decision, reason = report["conclusionCode"]
    assert decision["coding"][0]["code"] == "REVIEW"
    assert reason == {
        "coding": [{"system": "https://med3d.invalid/codes/reasons", "code": "vendor_outside_calibration"}],
        "text": "Another vendor.",
    }
    assert report["conclusion"].startswith("To be reviewed. Another vendor. ")


def test_the_page_shows_a_reason_s_whole_sentence_also_where_it_holds_a_colon():
    reason = Reason(
        code="other_series_damaged", sentence="Another series is damaged (missing_slices; series 19: 3D T1w)."
    )
    assessment = result().assessment.model_copy(update={"reasons": (reason,)})
    said = text_of(page_pdf(facts(result=result().model_copy(update={"assessment": assessment}))))
    assert reason.sentence in said
    assert reason.code not in said


def test_the_event_gives_each_reason_as_code_and_sentence():
    told = json.loads(event_json(facts(), "event"))["reasons"]
    assert told == [{"code": "vendor_outside_calibration", "sentence": "Another vendor."}]


def test_every_code_is_in_the_documented_table():
    table = (Path(__file__).parents[4] / "docs" / "codes.md").read_text()
    for code in codes.OWN_CODES:
        assert f"| `{code.value}` | {code.meaning} |" in table, code.value


# --- facts from the database ---


VAULT = IdentifierVault(SiteKeys(b"o" * 32, b"i" * 32, b"b" * 32, b"u" * 32))


def refused_in(database):
    run_id = add_run(database)
    with database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_outcome(session, run_id, refused(run.attempt), LEASES)
    return run_id


def test_the_predecessor_is_the_nearest_answered_run(tmp_path):
    database = open_database(tmp_path)
    first, second, third = refused_in(database), add_run(database), refused_in(database)
    with database.write() as session:
        session.execute(update(RunRow).where(RunRow.id == first).values(superseded_by=second))
        session.execute(update(RunRow).where(RunRow.id == second).values(superseded_by=third))
    reader = FactsReader(MemoryStore(), VAULT)
    with database.read() as session:
        assert reader.read(session, third).predecessor == first
        assert reader.read(session, first).predecessor is None
        assert reader.read(session, second) is None, "it has no answer"
    database.close()


JAPANESE, DAMAGED = (
    "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",
    "M\ufffdller^\ufffdnne",
)


@pytest.mark.parametrize(
    ("name", "on_the_page"),
    [(JAPANESE, "Yamada, Tarou (\u5c71\u7530 \u592a\u90ce)"), (DAMAGED, "see the study (in letters")],
)
def test_a_name_leaves_by_every_way_as_it_was_read(name, on_the_page):
    patient = dataclasses.replace(PATIENT, name=name)
    made = facts(patient=patient, segmented=segmented_head())
    report, page, mask = (read(write(made)) for write in (structured_report, encapsulated_pdf, brain_segmentation))
    assert {str(one.PatientName) for one in (report, page, mask)} == {name}
    with pypdfium2.PdfDocument(bytes(page.EncapsulatedDocument)) as document:
        assert on_the_page in document[0].get_textpage().get_text_range()
    message = result_message(made, Kind.ORU).decode()
    assert all(group.partition("^")[0] in message for group in name.split("="))
