"""`med3d analyse` and `med3d bundle` as processes, with the shipped model and a real head."""

import csv
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import nibabel as nib
import numpy as np
import pytest

from med3d_contract.results import RunView
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import make_signing_key, read_signing_key
from med3d_pipeline.calibration.files import write_calibration
from med3d_pipeline.calibration.fitting import Bearings, CalibrationHead, fit_site
from med3d_pipeline.calibration.site_calibration import BundleName
from med3d_pipeline.inference.prediction import Sighting
from med3d_pipeline.study.acquisition import Acquisition
from med3d_worker.analysis import AnalysedInput
from rig.processes.embedded import write_small_head


def med3d(*arguments):
    command = [sys.executable, "-m", "med3d_cli", *map(str, arguments)]
    wide = dict(os.environ) | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=wide)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return write_small_head(tmp_path_factory.mktemp("head") / "study" / "series")


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def answered(head, notes, tmp_path_factory):
    """One batch over a head (as a folder with a sub-folder), something that is no image, and the head again."""
    kept = tmp_path_factory.mktemp("kept")
    return med3d("analyse", head.parent, notes, head, "--json", "--age", "50", "--site", "HH", "--keep", kept), kept


def test_a_batch_goes_on_after_a_refused_input_and_says_so(answered, head, notes):
    done, _ = answered
    reports = json.loads(done.stdout)
    assert [report["input"] for report in reports] == [str(head.parent), str(notes), str(head)]
    assert [report["status"] for report in reports] == ["completed", "refused", "completed"]
    assert reports[1]["refusal"]["code"] == "no_images"
    assert done.stderr.strip().splitlines()[-1] == "3 inputs: 2 completed, 1 refused"
    assert done.returncode == 3


def test_a_stated_site_is_said_to_change_nothing_where_the_model_corrects_for_none(answered):
    done, _ = answered
    assert "--site has changed nothing: this model corrects for no sites" in done.stderr
    assert json.loads(done.stdout)[0]["result"]["assessment"]["site_correction"] is None


def test_the_objects_are_shaped_as_the_api_shows_runs(answered):
    for report in json.loads(answered[0].stdout):
        AnalysedInput.model_validate(report)
        assert report.keys() - {"input", "explanation"} <= RunView.model_fields.keys()


def test_the_same_head_gives_the_same_numbers(answered):
    first, _, second = json.loads(answered[0].stdout)
    assert first["result"] == second["result"]
    assert first["quality"] == second["quality"]


@pytest.mark.long
def test_a_series_chosen_by_hand_is_analysed_and_an_unknown_one_is_answered_with_the_list(head):
    chosen = json.loads(med3d("analyse", head, "--series", "1", "--json").stdout)[0]
    assert chosen["status"] == "completed"
    assert "chosen_by_hand" in [reason["code"] for reason in chosen["result"]["assessment"]["reasons"]]
    done = med3d("analyse", head, "--series", "99")
    assert done.returncode == 3
    assert "unknown_series" in done.stdout
    assert "series 1: 3D T1w" in done.stdout


def test_the_stated_age_gives_a_gap(answered):
    age = json.loads(answered[0].stdout)[0]["result"]["brain_age"]
    assert age["chronological_age"] == {"years": 50.0, "source": "form", "note": None}
    assert age["gap"]["estimate"] == pytest.approx(age["estimate"] - 50)


def a_calibration(folder):
    """Of a made-up site whose heads are estimated ten years too old, signed; the file and the public key."""
    bundle = Bundle.open(Bundle.default_path(), verify=False)
    space, rng = bundle.predictor().space, np.random.default_rng(0)
    latents = (space.distance_mean + rng.standard_normal((20, space.dimension))).astype(np.float32)
    ages = np.linspace(20, 80, 20)
    heads = [
        CalibrationHead(Sighting(latent, float(age) + 10, 0.1), float(age), Acquisition())
        for latent, age in zip(latents, ages, strict=True)
    ]
    name = BundleName(name=bundle.name, version=bundle.version, digest=bundle.digest)
    made = fit_site(heads, "Ward 3", Bearings(name, space, bundle.manifest.decision), datetime.now(UTC).date())
    make_signing_key(folder / "hospital.pem")
    write_calibration(folder / "site.json", made.calibration, read_signing_key(folder / "hospital.pem"))
    return folder / "site.json", folder / "hospital.pub.pem"


def test_a_calibration_is_applied_where_its_key_is_trusted(head, answered, tmp_path, monkeypatch):
    file, key = a_calibration(tmp_path)
    assert "calibration_unsigned" in med3d("analyse", head, "--calibration", file).stderr
    monkeypatch.setenv("MED3D_CALIBRATION_KEYS", str(key))
    calibrated = json.loads(med3d("analyse", head, "--calibration", file, "--json").stdout)[0]["result"]
    plain = json.loads(answered[0].stdout)[0]["result"]
    assert calibrated["assessment"]["calibrated_for"] == "Ward 3"
    assert plain["assessment"]["calibrated_for"] is None
    assert calibrated["brain_age"]["estimate"] == pytest.approx(plain["brain_age"]["estimate"] - 10, abs=0.1)


def test_simulated_labels_are_not_reported_unless_asked_for(answered):
    assert json.loads(answered[0].stdout)[0]["result"]["sdmt"] is None


def test_kept_images_lie_in_native_and_template_space(answered):
    kept = answered[1]
    assert sorted(folder.name for folder in kept.iterdir()) == ["0001", "0003"]
    mask = nib.load(kept / "0001" / "brain_mask.nii.gz")
    assert 900 < np.asarray(mask.dataobj).sum() * abs(np.linalg.det(mask.affine[:3, :3])) / 1000 < 2000  # ml of brain
    normalised = nib.load(kept / "0001" / "normalised.nii.gz")
    assert normalised.shape == Bundle.open(Bundle.default_path(), verify=False).spec.shape
    affine = np.loadtxt(kept / "0001" / "template_to_native.txt")
    assert affine.shape == (4, 4)
    assert np.linalg.det(affine[:3, :3]) > 0
    inside = np.asarray(mask.dataobj) > 0
    centre_native = nib.affines.apply_affine(mask.affine, np.argwhere(inside).mean(axis=0))
    centre_template = nib.affines.apply_affine(
        normalised.affine, np.argwhere(np.asarray(normalised.dataobj) > 0).mean(axis=0)
    )
    assert np.linalg.norm(nib.affines.apply_affine(affine, centre_template) - centre_native) < 10  # mm


def test_a_table_and_pages_are_written_and_gone_on_with(head, notes, tmp_path):
    table, ages, pages = (tmp_path / name for name in ("out.csv", "ages.csv", "pages"))
    ages.write_text(f"name,age\n{head.name},50\n")
    options = ("--csv", table, "--ages", ages, "--html", pages)
    first = med3d("analyse", head, *options)
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    again = med3d("analyse", head, notes, *options, "--resume")
    assert again.returncode == 3
    assert "2 inputs: 1 completed, 1 refused (1 of them as they were)" in again.stderr
    assert "has no row for 1 of 2 inputs" in again.stderr
    row, refused = csv.DictReader(table.read_text().splitlines())
    assert float(row["brain_age_lower"]) < float(row["brain_age_years"]) < float(row["brain_age_upper"])
    assert row["chronological_age_years"] == "50.0"
    assert float(row["quality_brain_volume_ml"]) > 900
    assert row["bundle"].startswith("infovae-")
    assert refused["code"] == "no_images"
    assert len(list(pages.glob("*.html"))) == 3
    assert "data:image/jpeg" in (pages / "index.html").read_text()


@pytest.mark.long
def test_several_processes_give_the_same_rows(head, notes, tmp_path):
    for jobs in (1, 2):
        done = med3d("analyse", head, notes, head.parent, "--csv", tmp_path / f"{jobs}.csv", "--jobs", jobs)
        assert done.returncode == 3, done.stderr
    told = [
        {
            row["input"]: row["brain_age_years"]
            for row in csv.DictReader((tmp_path / f"{jobs}.csv").read_text().splitlines())
        }
        for jobs in (1, 2)
    ]
    assert told[0] == told[1]


@pytest.mark.long
def test_the_shipped_bundle_proves_itself_here():
    folder = Bundle.default_path()
    done = med3d("bundle", "verify", folder)
    assert done.returncode == 0, done.stderr
    assert "reference case within tolerances" in done.stdout
    shown = med3d("bundle", "show", folder)
    assert Bundle.open(folder, verify=False).digest in shown.stdout


def test_an_altered_bundle_is_named_and_never_used(head, tmp_path):
    altered = tmp_path / "bundle"
    shutil.copytree(Bundle.default_path(), altered)
    network = altered / "heads" / "brain_age.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    for done in (med3d("bundle", "verify", altered), med3d("analyse", head, "--bundle", altered)):
        assert done.returncode == 1
        [line] = done.stderr.strip().splitlines()
        assert line.startswith("error: heads/brain_age.onnx of the bundle has been altered")


@pytest.mark.long
@pytest.mark.realdata
def test_real_studies_get_a_number_or_the_reason_why_not(test_data):
    dicom = test_data / "dicom"
    inputs = [dicom / name for name in ("siemens_trio_study", "ge_fruit_not_a_head", "siemens_2d_t1")]
    done = med3d("analyse", *inputs, "--json")
    mprage, fruit, thick = json.loads(done.stdout)
    assert mprage["status"] == "completed", mprage["refusal"] or mprage["failure"]
    assert 18 < mprage["result"]["brain_age"]["estimate"] < 90
    assert fruit["status"] == "refused"
    assert thick["refusal"]["code"] == "through_plane_too_coarse"
    assert done.returncode == 3
