import json
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest

from med3d_contract.ages import AgeReading, read_age
from med3d_contract.results import RunStatus, Sex
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_pipeline.errors import InferenceError, InputRefused
from med3d_pipeline.inference.site_shifts import SiteShifts
from med3d_pipeline.study.study import PatientAttributes
from med3d_worker.analysis import Analyser, Stated, age_at_scan, sex_of
from rig.science.calibrations import calibration
from rig.science.models import CannedPreprocessor, loaded_model, write_small_series
from rig.science.predictions import latent_space, tensors


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    write_small_series(folder)
    return folder


def analyse(path, preprocessor=None, *, allow=False, age=None, site=None, site_shifts=None):
    model = loaded_model(preprocessor, site_shifts=site_shifts)
    return Analyser(model, allow_demonstration_heads=allow)(path, Stated(age, site))


def test_an_input_is_answered_in_the_words_of_the_api(series):
    report = analyse(series, CannedPreprocessor(tensors([0.2, 0, 0, 0])[0]), age=50.0).report
    assert (report.status, report.input) == (RunStatus.COMPLETED, str(series))
    age = report.result.brain_age
    assert age.estimate == pytest.approx(52.0)
    assert age.chronological_age.source == "form"
    assert age.gap.estimate == pytest.approx(2.0)
    assert age.interval.lower < age.estimate < age.interval.upper
    assert report.result.latent.values == pytest.approx((0.2, 0, 0, 0))
    assert report.provenance.timings_s.keys() >= {"reading headers", "brain extraction", "predicting"}


def test_without_an_age_there_is_no_gap(series):
    result = analyse(series).report.result
    assert result.brain_age.chronological_age is None
    assert result.brain_age.gap is None


def test_an_estimate_from_simulated_labels_is_reported_only_where_it_is_allowed(series):
    assert analyse(series).report.result.sdmt is None
    assert analyse(series, allow=True).report.result.sdmt.evidence == "simulated labels"


def test_a_site_that_is_stated_is_taken_out_and_one_that_the_model_does_not_know_is_told(series):
    shifts = SiteShifts(np.array(["A"]), np.array([[0.1, 0, 0, 0]], np.float32))
    known, unknown = (analyse(series, site=site, site_shifts=shifts).report.result for site in ("A", "B"))
    assert known.assessment.site_correction == "applied"
    assert known.brain_age.estimate == pytest.approx(49.0)
    assert unknown.assessment.site_correction == "unknown_site"
    assert (unknown.brain_age.estimate, unknown.assessment.decision) == (pytest.approx(50.0), "review")
    assert analyse(series, site="A").report.result.assessment.site_correction is None


def test_reasons_known_before_prediction_reach_the_decision(series):
    assessment = analyse(series, CannedPreprocessor(overlap=0.85)).report.result.assessment
    assert assessment.decision == "review"
    assert any("overlap with the template" in reason.sentence for reason in assessment.reasons)


def test_a_head_unlike_the_cohort_is_refused_with_series_and_quality(series):
    report = analyse(series, CannedPreprocessor(tensors([50, 50, 0, 0])[0])).report
    assert (report.status, report.refusal.code) == (RunStatus.REFUSED, "out_of_distribution")
    assert report.result is None
    assert report.series is not None
    assert report.quality is not None


def test_a_refused_input_has_no_images_to_keep(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    analysis = analyse(tmp_path)
    assert (analysis.report.status, analysis.report.refusal.code) == (RunStatus.REFUSED, "no_images")
    assert analysis.prepared is None


@pytest.mark.parametrize(
    ("error", "code"), [(InferenceError("lost"), "inference_failed"), (RuntimeError("Doe^John"), "internal_error")]
)
def test_a_fault_is_reported_and_not_raised(series, error, code):
    report = analyse(series, CannedPreprocessor(refusal=error)).report
    assert (report.status, report.failure.code) == (RunStatus.FAILED, code)
    assert "Doe" not in report.model_dump_json()


def test_a_tensor_that_is_not_finite_is_a_fault_and_never_a_number(series):
    report = analyse(series, CannedPreprocessor(np.full((2, 2, 1), np.nan, np.float32))).report
    assert (report.status, report.result) == (RunStatus.FAILED, None)


def test_refusals_from_preprocessing_are_answers(series):
    report = analyse(series, CannedPreprocessor(refusal=InputRefused("no_brain", "Send a head."))).report
    assert (report.status, report.refusal.code) == (RunStatus.REFUSED, "no_brain")


STATED = read_age(stated_years=40.0)


def test_the_age_comes_from_the_form_before_the_headers():
    patient = PatientAttributes(birth_date="19600101", study_date="20200101", patient_age="061Y")
    assert age_at_scan([patient], STATED).age.source == "form"
    assert age_at_scan([patient], None).age.years == pytest.approx(60, abs=0.01)
    assert age_at_scan([PatientAttributes(patient_age="061Y")], None).age.years == 61.5
    assert age_at_scan([], None) == AgeReading(None)


def test_a_stated_age_that_the_headers_contradict_is_taken_and_told():
    found = age_at_scan([PatientAttributes(patient_age="061Y")], STATED)
    assert (found.age.years, found.doubt.code) == (40.0, "stated_age_differs")
    assert "(40.0 years) was taken; they tell 61.5." in str(found.doubt)
    assert age_at_scan([PatientAttributes(patient_age="061Y")], read_age(stated_years=61.0)).doubt is None
    undecided = PatientAttributes(birth_date="19660101", study_date="20130717", patient_age="042Y")
    assert age_at_scan([undecided], STATED).doubt is None, "who states the age settles it"


@pytest.mark.parametrize(
    "headers",
    [
        [{"PatientBirthDate": "19660101", "StudyDate": "20130717", "PatientAge": "042Y"}],
        [{"PatientAge": "042Y"}, {"PatientAge": "047Y"}],
    ],
)
def test_ages_that_disagree_give_no_gap_and_a_reason_for_review(headers, tmp_path):
    write_small_series(tmp_path)
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        dataset = pydicom.dcmread(path)
        for keyword, value in headers[number % len(headers)].items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    result = analyse(tmp_path).report.result
    assert result.brain_age.chronological_age is None
    assert result.brain_age.gap is None
    assert result.assessment.decision == "review"
    assert any(reason.code == "age_sources_disagree" for reason in result.assessment.reasons)


def nifti(path, told=None):
    """A small volume, and the sidecar that names its scanner."""
    voxels = np.random.default_rng(0).integers(1, 900, (70, 80, 72)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.5, 2.5, 2.5, 1.0])), path)
    if told is not None:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(told))


def calibrated_answer(path, site="Ward 3"):
    """The answer of a model that is calibrated for Ward 3, a Siemens Prisma of 3 T."""
    model = loaded_model(
        CannedPreprocessor(tensors([0.2, 0, 0, 0])[0]), calibrations=(CalibratedSite(calibration(), latent_space()),)
    )
    return Analyser(model, allow_demonstration_heads=False)(path, Stated(site=site)).report.result


SIGNA = {"Manufacturer": "GE", "ManufacturersModelName": "Signa", "MagneticFieldStrength": 1.5}
PRISMA = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "MagneticFieldStrength": 3}


@pytest.mark.parametrize("name", ["head.nii", "head.nii.gz"])
@pytest.mark.parametrize("folder", [True, False])
def test_a_nifti_whose_sidecar_names_another_scanner_is_not_answered_by_the_calibration(tmp_path, name, folder):
    nifti(tmp_path / name, SIGNA)
    answer = calibrated_answer(tmp_path if folder else tmp_path / name)
    assert answer.assessment.calibrated_for is None
    assert answer.brain_age.estimate == pytest.approx(52.0)
    assert answer.assessment.decision == "review"
    assert "calibration_other_scanner" in {reason.code for reason in answer.assessment.reasons}


def test_a_nifti_whose_sidecar_names_the_calibrated_scanner_is_calibrated_even_where_no_site_is_stated(tmp_path):
    nifti(tmp_path / "head.nii", PRISMA)
    for site in ("Ward 3", None):
        assert calibrated_answer(tmp_path / "head.nii", site).assessment.calibrated_for == "Ward 3"


def test_the_sidecar_of_the_file_that_is_taken_counts_and_no_other(tmp_path):
    nifti(tmp_path / "head.nii")
    (tmp_path / "other.json").write_text(json.dumps(SIGNA))
    assert calibrated_answer(tmp_path / "head.nii").assessment.calibrated_for == "Ward 3"


@pytest.mark.parametrize("spelt", ["ward 3", "Ward  3 "])
def test_case_and_spaces_make_no_other_site(tmp_path, spelt):
    nifti(tmp_path / "head.nii")
    assert calibrated_answer(tmp_path / "head.nii", spelt).assessment.calibrated_for == "Ward 3"
    assert calibrated_answer(tmp_path / "head.nii", "Ward 4").assessment.calibrated_for is None


def test_the_sidecar_in_an_archive_counts_as_one_beside_the_file(tmp_path):
    nifti(tmp_path / "head.nii.gz", SIGNA)
    with zipfile.ZipFile(tmp_path / "head.zip", "w") as packed:
        for name in ("head.nii.gz", "head.json"):
            packed.write(tmp_path / name, f"anat/{name}")
    answer = calibrated_answer(tmp_path / "head.zip")
    assert answer.assessment.calibrated_for is None
    assert "calibration_other_scanner" in {reason.code for reason in answer.assessment.reasons}


def test_a_stated_sex_goes_before_the_headers_and_a_told_one_after_them():
    patients = [PatientAttributes(sex="F")]
    assert sex_of(patients, Stated(sex=Sex.M)) == Sex.M
    assert sex_of(patients, Stated(told_sex=Sex.M)) == Sex.F
    assert sex_of([PatientAttributes(sex="O")], Stated(told_sex=Sex.M)) == Sex.M
