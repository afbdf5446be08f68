"""Real studies through the whole service: each gets its number or its reason."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pypdfium2
import pytest
from highdicom.seg import segread

from med3d_service.studies.own_objects import own_uid
from rig.processes.service import contents_of
from rig.processes.waiting import wait_until

pytestmark = pytest.mark.realdata
ROOT = Path(__file__).parents[2]


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def mprage_run(service, test_data):
    """The Siemens study (MPRAGE and two field maps, a text file among them), sent as one zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        folder = test_data / "dicom" / "siemens_trio_study"
        for path in files_below(folder):
            archive.write(path, path.relative_to(folder))
    upload = {"files": ("study.zip", packed.getvalue())}
    accepted = service.client.post("/studies", files=upload)
    assert accepted.status_code == 202, accepted.text
    again = service.client.post("/studies", files=upload)
    assert (again.status_code, again.json()["run_id"]) == (200, accepted.json()["run_id"])
    return service.answer(accepted.json()["run_id"])


def test_the_siemens_study_gets_a_plausible_brain_age(mprage_run):
    assert mprage_run["status"] == "completed", mprage_run["refusal"] or mprage_run["failure"]
    brain_age = mprage_run["result"]["brain_age"]
    interval = brain_age["interval"]
    assert 20 <= brain_age["estimate"] <= 65
    assert interval["lower"] < brain_age["estimate"] < interval["upper"]
    assert brain_age["chronological_age"]["source"] == "birth_date"
    assert brain_age["chronological_age"]["years"] == pytest.approx(39.7, abs=0.05)
    assert brain_age["gap"]["estimate"] == pytest.approx(
        brain_age["estimate"] - brain_age["chronological_age"]["years"]
    )


def test_readme_tells_the_siemens_study_s_estimate_by_the_shipped_model(mprage_run):
    said = re.search(r"sample data: ([\d.]+) for 39.7 years", (ROOT / "README.md").read_text())
    assert float(said[1]) == pytest.approx(mprage_run["result"]["brain_age"]["estimate"], abs=0.1)


def test_the_mprage_is_chosen_and_the_field_maps_are_listed_with_reasons(mprage_run):
    series = mprage_run["series"]
    assert "series 19" in series["chosen"]
    assert len(series["candidates"]) >= 3
    assert all(candidate["reasons"] for candidate in series["candidates"])


def test_the_answer_says_where_it_comes_from(mprage_run):
    provenance = mprage_run["provenance"]
    assert provenance["bundle_digest"] == mprage_run["bundle"]["digest"]
    assert provenance["input_digest"]
    assert provenance["preprocessing_digest"]
    assert provenance["providers"]
    assert {"brain extraction", "registration"} & {name.replace("_", " ") for name in provenance["timings_s"]}
    assert mprage_run["result"]["latent"]["dimension"] == len(mprage_run["result"]["latent"]["values"]) == 512


def test_the_sdmt_of_a_demonstration_head_says_so_and_has_no_interval(mprage_run):
    sdmt = mprage_run["result"]["sdmt"]
    assert sdmt["evidence"] == "simulated labels"
    assert sdmt["interval"] is None
    assert 0 <= sdmt["estimate"] <= 110


@pytest.mark.parametrize("series", ["5_anat-T1w_acq-tfl", "6_anat-T1w_acq-tfl"])
def test_each_enhanced_series_completes(service, test_data, series):
    files = files_below(test_data / "dicom" / "siemens_enhanced_multiframe" / series)
    run = service.answer(service.submit(files)["run_id"])
    assert run["status"] == "completed", run["refusal"] or run["failure"]
    assert 15 <= run["result"]["brain_age"]["estimate"] <= 60
    assert run["result"]["brain_age"]["chronological_age"]["years"] == pytest.approx(31.5, abs=0.05)
    (original,) = [one for one in map(pydicom.dcmread, files) if "PixelData" in one]
    brain = segread(io.BytesIO(service.clinical(f"/runs/{run['run_id']}/seg").content))
    shown = brain.get_pixels_by_source_frame(original.SOPInstanceUID, assert_missing_frames_are_empty=True)[..., 0]
    heads = original.pixel_array[: len(shown)]
    assert np.median(heads[shown == 1]) > 3 * np.median(heads[shown == 0]), "the mask lies on the brain of each frame"
    assert shown.sum() * 8 / 1000 == pytest.approx(run["quality"]["measures"]["brain_volume_ml"], rel=0.01)


def test_both_enhanced_series_together_are_a_tie_that_asks_for_review(service, test_data):
    files = files_below(test_data / "dicom" / "siemens_enhanced_multiframe")
    run = service.answer(service.submit(files)["run_id"])
    assert run["status"] == "completed", run["refusal"] or run["failure"]
    assert run["result"]["assessment"]["decision"] == "review"
    assert any(reason["code"] == "series_tie" for reason in run["result"]["assessment"]["reasons"])


@pytest.mark.parametrize(
    ("folder", "codes"),
    [
        ("siemens_2d_t1", {"through_plane_too_coarse"}),
        ("ge_fruit_not_a_head", {"not_a_head"}),
        ("fragments/failing/gantrytilting", {"not_mr"}),
        ("fragments/failing/notavolume", {"not_mr"}),
        ("fragments/failing/sliceincrement/001", {"not_mr"}),
        ("fragments/failing/sliceincrement/002", {"not_mr"}),
        ("fragments/failing/slicecount", {"no_t1w_series"}),
        ("fragments/failing/sliceorientation", {"no_t1w_series"}),
    ],
)
def test_what_is_not_a_t1_head_is_refused_with_its_code(service, test_data, folder, codes):
    files = sorted((test_data / "dicom" / folder).rglob("*.dcm"))
    run = service.answer(service.submit(files)["run_id"])
    assert run["status"] == "refused", run["failure"] or run["result"]
    assert run["refusal"]["code"] in codes
    assert len(run["refusal"]["reason"]) > 30, "a refusal says what is wrong and what to send instead"
    assert run["result"] is None


def test_a_nifti_head_that_the_model_learned_from_completes_with_the_age_from_the_form_and_is_known_again(
    service, test_data
):
    head = sorted((test_data / "ixi_hh" / "t1w").glob("*.nii.gz"))[17]
    answer = service.client.post(
        "/studies", files={"files": ("head.nii.gz", head.read_bytes())}, data={"age": "50.5", "sex": "F"}
    )
    run = service.answer(answer.json()["run_id"])
    assert run["status"] == "completed", run["refusal"] or run["failure"]
    assert run["result"]["brain_age"]["chronological_age"] == {"years": 50.5, "source": "form", "note": None}
    assert "training_scan" in {reason["code"] for reason in run["result"]["assessment"]["reasons"]}


def sr_items(dataset, found=None):
    """All content items of an SR with a value: meaning of the name -> values."""
    found = {} if found is None else found
    read = {
        "NUM": lambda item: float(item.MeasuredValueSequence[0].NumericValue),
        "CODE": lambda item: item.ConceptCodeSequence[0].CodeMeaning,
        "TEXT": lambda item: item.TextValue,
    }
    for item in dataset.get("ContentSequence", []):
        if item.ValueType in read:
            found.setdefault(item.ConceptNameCodeSequence[0].CodeMeaning, []).append(read[item.ValueType](item))
        sr_items(item, found)
    return found


def objects_of(service, run_id, kinds):
    """The objects of a run that the receiver has, once it has confirmed them all: kind -> file."""

    def confirmed():
        sent = service.client.get("/deliveries", params={"run_id": run_id}).json()["items"]
        return {one["kind"] for one in sent if one["status"] == "delivered"} >= set(kinds)

    wait_until(confirmed, f"the arrival of {', '.join(kinds)}")
    files = list(service.receiver.folder.iterdir())
    return {kind: next(path for path in files if path.name.endswith(own_uid(run_id, kind))) for kind in kinds}


def test_the_pacs_gets_the_answer_filed_with_the_images_that_it_comes_from(service, mprage_run, test_data):
    files = objects_of(service, mprage_run["run_id"], ("sr", "pdf", "sc"))
    for path in files.values():
        said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr, said.stderr
    report = pydicom.dcmread(files["sr"])
    images = [
        pydicom.dcmread(path, stop_before_pixels=True)
        for path in (test_data / "dicom" / "siemens_trio_study").glob("t1*/*.dcm")
    ]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber", "StudyID"):
        assert str(report[keyword].value) == str(images[0].get(keyword, "")), keyword
    (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence} == {
        image.SOPInstanceUID for image in images
    }
    found, brain_age = sr_items(report), mprage_run["result"]["brain_age"]
    assert found["Brain age"] == [pytest.approx(brain_age["estimate"], abs=0.005)]
    assert found["Brain age gap corrected for age"] == [
        pytest.approx(brain_age["gap_corrected"]["estimate"], abs=0.005)
    ]
    assert found["Lower limit of prediction interval"][0] == pytest.approx(brain_age["interval"]["lower"], abs=0.005)
    assert not any("Symbol Digit" in name for name in found), "simulated labels are never handed on"
    assert len(found["Reason of the decision"]) == len(mprage_run["result"]["assessment"]["reasons"])


def test_the_page_shows_the_outline_of_the_brain_and_the_cohort(service, mprage_run):
    document = pypdfium2.PdfDocument(service.clinical(f"/runs/{mprage_run['run_id']}/report.pdf").content)
    page = document[0]
    said = " ".join(page.get_textpage().get_text_bounded().split())
    pictures = [item for item in page.get_objects() if item.type == pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]
    document.close()
    assert len(pictures) == 3
    assert f"{mprage_run['result']['brain_age']['estimate']:.1f} years" in said
    assert "190 subjects" in said
    assert "have a lower brain age" in said


def test_a_refused_study_sends_an_sr_that_says_why(service, test_data):
    run = service.answer(service.submit(files_below(test_data / "dicom" / "siemens_2d_t1"))["run_id"])
    report = pydicom.dcmread(objects_of(service, run["run_id"], ("sr",))["sr"])
    found = sr_items(report)
    assert "Brain age" not in found
    assert any("Refused" in value for value in found["Decision on the estimate"])
    assert run["refusal"]["code"] in found["Reason of the decision"][0]


def med3d(service, *arguments):
    command = [sys.executable, "-m", "med3d_cli", *arguments, "--data-dir", str(service.data_dir)]
    environment = os.environ | {"MED3D_ALLOW_DEMONSTRATION_HEADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.long
def test_replay_derives_a_real_answer_again_from_what_is_stored(service, mprage_run):
    said = med3d(service, "replay", mprage_run["run_id"], "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    report = json.loads(said.stdout)
    compared = {one["name"].split(" (")[0] for one in report["compared"]}
    assert compared >= {"status", "tensor", "latent", "brain age", "SDMT", "decision"}
    assert all(one["agrees"] for one in report["compared"])
    assert all(one["then"] == one["now"] for one in report["fingerprint"])


def test_no_identifier_of_a_study_is_written_outside_the_encrypted_table(service, mprage_run, test_data):
    """The sender's UIDs and birth date appear in no file that the service wrote."""
    folder = test_data / "dicom" / "siemens_trio_study"
    header = pydicom.dcmread(next(folder.glob("t1*/*.dcm")), stop_before_pixels=True)
    traces = [
        str(header[name].value).encode() for name in ("StudyInstanceUID", "SeriesInstanceUID", "PatientBirthDate")
    ]
    traces += [str(header.PatientName).encode(), str(header.PatientID).encode()]
    traces = [trace for trace in traces if len(trace) >= 6]
    assert len(traces) >= 3
    for path, content in contents_of(service.data_dir).items():
        found = [trace for trace in traces if trace in content]
        assert not found, f"{os.path.relpath(path, service.data_dir)} holds {found}"
