"""`med3d bids` as docs/bids.md has it, on fourteen people in two sessions; the BIDS validator judges what goes in and comes out."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rig.processes.pages import commands

pytestmark = [pytest.mark.e2e, pytest.mark.realdata, pytest.mark.timeout(1800)]
PAGE = "docs/bids.md"
SCANNER = {
    "Manufacturer": "Philips",
    "ManufacturersModelName": "Intera",
    "MagneticFieldStrength": 3,
    "EchoTime": 0.0046,
}
PATIENTS = ("patient12", "patient19")
SECOND_VISITS = 3


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))


def write_table(path, *rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows))


def place(root, source, label, session, suffix="T1w"):
    anat = root / f"sub-{label}" / f"ses-{session}" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, anat / f"sub-{label}_ses-{session}_{suffix}.nii.gz")


def lay_out(data, root):
    """Ten heads of one scanner, two of another, two MS patients with FLAIR beside T1w; three healthy ones come twice."""
    sources = [("ixi_hh", row) for row in read(data / "ixi_hh" / "participants.csv")[::13][:10]]
    sources += [("ds002748", row) for row in read(data / "ds002748" / "participants.csv")[::20][:2]]
    people = []
    for number, (folder, row) in enumerate(sources, start=1):
        label = f"{number:02d}"
        place(root, data / folder / row["t1w"], label, "1")
        age = float(row["age"])
        people.append((f"sub-{label}", "89+" if number == 4 else row["age"], row["sex"]))
        if number <= SECOND_VISITS:
            place(root, data / folder / row["t1w"], label, "2")
            ages = ("n/a", "n/a") if number == SECOND_VISITS else (f"{age}", f"{age + 2}")
            visits = [(f"ses-{visit}", years) for visit, years in enumerate(ages, start=1)]
            write_table(root / f"sub-{label}" / f"sub-{label}_sessions.tsv", ("session_id", "age"), *visits)
    for label, patient in zip(("13", "14"), PATIENTS, strict=True):
        people.append((f"sub-{label}", "n/a", "O"))
        for image in sorted((data / "nifti" / "ms_longitudinal" / patient).glob("study?_*.nii.gz")):
            study, contrast = image.name.split(".")[0].split("_")
            place(root, image, label, study.removeprefix("study"), contrast.replace("T1W", "T1w"))
    write_table(root / "participants.tsv", ("participant_id", "age", "sex"), *people, ("sub-15", "33", "F"))
    (root / "T1w.json").write_text(json.dumps(SCANNER))
    said = {"Name": "Fourteen", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC BY-SA 3.0"}
    (root / "dataset_description.json").write_text(json.dumps(said))
    (root / "README").write_text("Fourteen people in two sessions, put together for a test of software.\n" * 3)


@pytest.fixture(scope="module")
def site(tmp_path_factory, test_data):
    """The lines of the page's block, run in their order, and what each said."""
    folder = tmp_path_factory.mktemp("bids")
    (folder / "DATASET").mkdir()
    lay_out(test_data, folder / "DATASET")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = dict(os.environ) | {"PATH": path, "COLUMNS": "80"}
    said = [
        subprocess.run(
            ["bash", "-c", command.text], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        for command in commands(PAGE)
    ]
    return folder / "DATASET", said


def lines(done):
    return {name: rest for name, *rest in (line.split("\t") for line in done.stdout.splitlines())}


def test_each_line_of_the_page_ends_as_it_says_and_what_was_done_stands(site):
    _, (two, everybody, group) = site
    assert set(lines(two)) == {f"sub-{label}_ses-{visit}_T1w" for label in ("01", "02") for visit in (1, 2)}
    assert (two.returncode, everybody.returncode, group.returncode) == (0, 3, 0), everybody.stderr
    assert "4 of them as they were" in everybody.stderr
    assert "FLAIR" in everybody.stderr
    assert "missing: sub-15" in everybody.stderr


def test_there_is_a_right_row_or_a_named_refusal_for_each_scan(site):
    dataset, _ = site
    rows = read(dataset / "derivatives" / "med3d" / "group_brainage.tsv")
    by_scan = {row["scan"]: row for row in rows}
    images = {path.name.removesuffix(".nii.gz") for path in dataset.glob("sub-*/ses-*/anat/*_T1w.nii.gz")}
    assert images <= by_scan.keys()
    assert len({row["participant_id"] for row in rows if row["image"] != "n/a"}) == 14
    assert all(row["reason"] != "n/a" for row in rows if row["status"] != "completed")
    assert not any("FLAIR" in row["scan"] for row in rows)
    assert not any("field_strength_unknown" in row["reason_codes"] for row in rows)
    assert {row["field_strength_t"] for row in rows if row["image"] != "n/a"} == {"3"}
    assert by_scan["sub-15_T1w"]["code"] == "missing_image"
    healthy = [row for row in rows if row["participant_id"] < "sub-13"]
    assert {row["status"] for row in healthy} == {"completed"}
    years = {row["scan"]: row["chronological_age_years"] for row in healthy}
    assert float(years["sub-01_ses-2_T1w"]) == pytest.approx(float(years["sub-01_ses-1_T1w"]) + 2, abs=0.01)
    without_age = ("sub-03_ses-1_T1w", "sub-03_ses-2_T1w", "sub-04_ses-1_T1w")
    assert all(
        "age_unusable" in by_scan[scan]["reason_codes"] and by_scan[scan]["gap_years"] == "n/a" for scan in without_age
    )
    assert all(float(row["brain_age_lower"]) < float(row["brain_age_years"]) for row in healthy)


@pytest.mark.parametrize("place", [".", "derivatives/med3d"])
def test_the_bids_validator_finds_no_error(site, place):
    dataset, _ = site
    validator = Path(sys.executable).parent / "bids-validator-deno"
    done = subprocess.run([validator, dataset / place, "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
