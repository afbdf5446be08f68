"""One scan to the files of the derivative, and the group's files from them: around a canned model."""

import csv
import io
import json
import shutil
from dataclasses import asdict
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from med3d_cli.bids.command import _follow, _line
from med3d_cli.bids.dataset import read_dataset
from med3d_cli.bids.derivative import begin_derivative
from med3d_cli.bids.group_page import dataset_page
from med3d_cli.bids.group_rows import GroupRow, group_rows
from med3d_cli.bids.group_table import COLUMNS, DICTIONARY, TABLE, grouping_columns, write_table
from med3d_cli.bids.scans import Order, Outcome, answer_scan
from med3d_cli.errors import CommandError
from med3d_cli.studies.figure import Kind, figure
from med3d_contract.results import RunStatus, Sex
from med3d_pipeline.inference.decision import LEARNED_FROM
from med3d_worker.analysis import Analyser
from med3d_worker.heads.pictures import PicturesInHand
from rig.science.models import CannedPreprocessor, loaded_model


def write_head(path):
    axes = [np.linspace(-1, 1, count) for count in (70, 88, 88)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    voxels = (1000 * np.exp(-2 * (x**2 + y**2 + z**2))).astype(np.int16)
    affine = np.diag([2.5, 2.5, 2.5, 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "in"
    write_head(root / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-1\t45\tF\nsub-2\t50\tM\n")
    (root / "T1w.json").write_text(json.dumps({"MagneticFieldStrength": 3, "Manufacturer": "Philips"}))
    return root


@pytest.fixture
def out(dataset):
    begin_derivative(dataset / "derivatives" / "med3d", dataset)
    return dataset / "derivatives" / "med3d"


def answered(dataset, out, preprocessor, *, with_tensor=False):
    analyser = Analyser(loaded_model(preprocessor), allow_demonstration_heads=False, pictures=PicturesInHand())
    found = read_dataset(dataset)
    return answer_scan(analyser, found.scans[0], Order(dataset, out, with_tensor=with_tensor))


def the_answer(out):
    return json.loads((out / "sub-1" / "anat" / "sub-1_desc-med3d_brainage.json").read_text())


def table(out):
    with (out / TABLE).open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_a_scan_leaves_answer_mask_figure_and_tensor_and_is_told_scanner_and_age(dataset, out):
    outcome = answered(dataset, out, CannedPreprocessor(), with_tensor=True)
    assert outcome.status is RunStatus.COMPLETED
    said = the_answer(out)
    assert (said["status"], said["input"]) == ("completed", "sub-1/anat/sub-1_T1w.nii.gz")
    assert said["result"]["brain_age"]["chronological_age"] == {
        "years": 45.0, "source": "form", "note": "from participants.tsv"
    }  # fmt: skip
    codes = {reason["code"] for reason in said["result"]["assessment"]["reasons"]}
    assert not codes & {"field_strength_unknown", "vendor_outside_calibration"}
    assert all((out / path).is_file() for path in said["files"].values())
    assert said["files"].keys() == {"figure", "mask", "page", "tensor"}
    mask = nib.load(out / said["files"]["mask"])
    assert mask.get_data_dtype() == np.uint8
    assert (out / said["files"]["figure"]).read_bytes().startswith(b"\x89PNG")


def test_an_answer_stands_until_image_age_sidecar_or_files_change(dataset, out):
    preprocessor = CannedPreprocessor()
    assert not answered(dataset, out, preprocessor).kept
    assert answered(dataset, out, preprocessor).kept
    assert preprocessor.calls == 1
    changes = [
        lambda: (dataset / "participants.tsv").write_text("participant_id\tage\nsub-1\t46\n"),
        lambda: (dataset / "sub-1" / "anat" / "sub-1_T1w.json").write_text('{"MagneticFieldStrength": 1.5}'),
        lambda: take_away_mask(out),
        lambda: write_head_again(dataset),
    ]
    for change in changes:
        change()
        assert not answered(dataset, out, preprocessor).kept
        assert answered(dataset, out, preprocessor).kept
    assert not answered(dataset, out, preprocessor, with_tensor=True).kept
    assert preprocessor.calls == 6


def take_away_mask(out):
    (out / the_answer(out)["files"]["mask"]).unlink()


def write_head_again(dataset):
    path = dataset / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), path)


def test_a_refusal_stands_with_its_figure_and_a_failure_is_tried_again(dataset, out):
    answered(dataset, out, CannedPreprocessor())
    (dataset / "T1w.json").unlink()
    refused = CannedPreprocessor(overlap=0.5)
    outcome = answered(dataset, out, refused)
    assert outcome.status is RunStatus.REFUSED
    said = the_answer(out)
    assert said["files"].keys() == {"figure", "page"}
    assert not (out / "sub-1" / "anat" / "sub-1_desc-brain_mask.nii.gz").exists()
    assert answered(dataset, out, refused).kept
    (dataset / "T1w.json").write_text("{}")
    (dataset / "participants.tsv").unlink()
    failing = Breaking()
    assert [answered(dataset, out, failing).status for _ in range(2)] == [RunStatus.FAILED] * 2
    assert failing.calls == 2


class Breaking:
    def __init__(self):
        self.calls = 0

    def __call__(self, volume, on_stage):
        self.calls += 1
        raise RuntimeError("broken")


def test_contrast_agent_in_the_name_is_for_review(dataset, out):
    (dataset / "sub-1" / "anat" / "sub-1_T1w.nii.gz").rename(dataset / "sub-1" / "anat" / "sub-1_ce-gd_T1w.nii.gz")
    answered(dataset, out, CannedPreprocessor())
    said = json.loads((out / "sub-1" / "anat" / "sub-1_ce-gd_desc-med3d_brainage.json").read_text())
    assert "contrast_agent" in {reason["code"] for reason in said["result"]["assessment"]["reasons"]}


def test_what_cannot_be_written_is_an_outcome(dataset, out):
    (out / "sub-1").write_text("in the way")
    outcome = answered(dataset, out, CannedPreprocessor())
    assert outcome.status is RunStatus.FAILED
    assert outcome.reason.startswith("an unexpected ")


def test_a_scan_that_failed_says_why_beside_its_code(capsys):
    told = Console(file=io.StringIO(), width=200)
    failed = Outcome("sub-1", RunStatus.FAILED, code="internal_error", reason="an unexpected KeyError at scans.py:9")
    _follow([failed], 1, told)
    assert "sub-1: an unexpected KeyError at scans.py:9" in told.file.getvalue()
    assert "sub-1\tfailed\tinternal_error" in capsys.readouterr().out


def test_the_group_has_a_row_for_each_scan_and_each_that_is_missing(dataset, out):
    write_table(out, group_rows(read_dataset(dataset), out))
    assert [(row["scan"], row["status"], row["code"]) for row in table(out)] == [
        ("sub-1_T1w", "not_analysed", "not_analysed"), ("sub-2_T1w", "missing", "missing_image")
    ]  # fmt: skip
    answered(dataset, out, CannedPreprocessor())
    rows = group_rows(read_dataset(dataset), out)
    write_table(out, rows)
    first = table(out)[0]
    assert (first["status"], first["chronological_age_years"], first["field_strength_t"]) == ("completed", "45", "3")
    assert first["sdmt_points"] == "n/a"
    said = json.loads((out / DICTIONARY).read_text())
    assert list(said) == list(COLUMNS) == list(first)
    assert said["code"]["Levels"].keys() == {"missing_image"}
    assert not rows[0].is_stale
    (dataset / "participants.tsv").write_text("participant_id\tage\nsub-1\t46\n")
    assert group_rows(read_dataset(dataset), out)[0].is_stale


def test_the_group_s_table_has_the_columns_of_participants_that_tell_groups_for_figures_by_them(dataset, out, capsys):
    (dataset / "participants.tsv").write_text("participant_id\tage\tdiagnosis\tstatus\nsub-1\t45\tMS\tx\n")
    answered(dataset, out, CannedPreprocessor())
    rows = group_rows(read_dataset(dataset), out)
    write_table(out, rows)
    assert [*table(out)[0]] == [*COLUMNS, "diagnosis"] == [*json.loads((out / DICTIONARY).read_text())]
    assert (table(out)[0]["diagnosis"], table(out)[0]["status"]) == ("MS", "completed")
    figure(out / TABLE, out / "ages.svg", by="diagnosis")
    assert "1 scan" in capsys.readouterr().out
    many = [GroupRow(f"{n}", None, f"{n}", None, {}, told={"hand": "r", "score": f"{n}"}) for n in range(9)]
    assert grouping_columns(many) == ["hand"]


def test_the_group_says_which_scans_the_model_learned_from_and_counts_none_of_them(dataset, out):
    answered(dataset, out, CannedPreprocessor())
    place = out / "sub-1" / "anat" / "sub-1_desc-med3d_brainage.json"
    said = the_answer(out)
    said["result"]["assessment"] |= {"decision": "review", "reasons": [asdict(LEARNED_FROM)]}
    place.write_text(json.dumps(said))
    found = read_dataset(dataset)
    rows = group_rows(found, out)
    write_table(out, rows)
    assert table(out)[0]["reason_codes"] == "training_scan"
    assert json.loads((out / DICTIONARY).read_text())["reason_codes"]["Levels"] == {
        "training_scan": LEARNED_FROM.sentence
    }
    assert "Here: 1." in dataset_page(found, rows, out)


def test_one_person_at_two_visits_without_ages_has_estimates_no_gap_and_a_page(dataset, out):
    (dataset / "participants.tsv").unlink()
    shutil.rmtree(dataset / "sub-1")
    for visit in ("1", "2"):
        write_head(dataset / "sub-1" / f"ses-{visit}" / "anat" / f"sub-1_ses-{visit}_T1w.nii.gz")
    analyser = Analyser(loaded_model(CannedPreprocessor()), allow_demonstration_heads=False, pictures=PicturesInHand())
    found = read_dataset(dataset)
    for one in found.scans:
        answer_scan(analyser, one, Order(dataset, out, with_tensor=False))
    rows = group_rows(found, out)
    write_table(out, rows)
    assert [(row["session_id"], row["status"], row["chronological_age_years"], row["gap_years"]) for row in table(out)] == [
        (f"ses-{visit}", "completed", "n/a", "n/a") for visit in ("1", "2")
    ]  # fmt: skip
    assert "age_unusable" not in {code for row in table(out) for code in row["reason_codes"].split("; ")}
    page = dataset_page(found, rows, out)
    assert all(f"sub-1_ses-{visit}_T1w" in page for visit in ("1", "2"))
    with pytest.raises(CommandError, match="2 visits have no age of their own"):
        figure(out / TABLE, out / "visits.svg", kind=Kind.VISITS)


class Addresses(HTMLParser):
    """Every address of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in {"src", "href"}]


def test_the_page_holds_all_in_itself_and_escapes_what_it_is_given(dataset, out):
    answered(dataset, out, CannedPreprocessor())
    (dataset / "participants.tsv").write_text("participant_id\tage\nsub-1\t45\nsub-<b>\t5\n")
    found = read_dataset(dataset)
    for page in (dataset_page(found, group_rows(found, out), out), (out / "sub-1_T1w.html").read_text()):
        addresses = Addresses()
        addresses.feed(page)
        inside = {"sub-1_T1w.html", "group_brainage.html"}
        assert {one for one in addresses.found if not one.startswith(("#", "data:image/jpeg;base64,"))} <= inside
        assert "sub-<b>" not in page
        assert "SHA-256" in page


def test_a_page_that_was_taken_away_is_made_again_and_not_linked_before(dataset, out):
    answered(dataset, out, CannedPreprocessor())
    found = read_dataset(dataset)
    assert 'href="sub-1_T1w.html"' in dataset_page(found, group_rows(found, out), out)
    (out / "sub-1_T1w.html").unlink()
    assert 'href="sub-1_T1w.html"' not in dataset_page(found, group_rows(found, out), out)
    assert not answered(dataset, out, CannedPreprocessor()).kept
    assert (out / "sub-1_T1w.html").is_file()


def test_what_participants_tsv_says_of_people_groups_them(dataset):
    (dataset / "participants.tsv").write_text("participant_id\tage\tsex\tdiagnosis\nsub-1\t45\tF\tMS\n")
    assert read_dataset(dataset).scans[0].groups == {"diagnosis": "MS"}


def test_a_number_that_a_person_must_look_at_says_so_in_its_line():
    plain, marked = (Outcome("sub-1", RunStatus.COMPLETED, 30.94, for_review=one) for one in (False, True))
    assert _line(plain) == "sub-1\tcompleted\t30.9 years"
    assert _line(marked) == "sub-1\tcompleted\t30.9 years, to be reviewed"


def test_a_full_disk_ends_the_work_before_the_next_scan_is_analysed_for_nothing(capsys):
    asked = []

    def outcomes():
        for stem, code in (("sub-1", None), ("sub-2", "disk_full"), ("sub-3", None)):
            asked.append(stem)
            yield Outcome(stem, RunStatus.FAILED if code else RunStatus.COMPLETED, None if code else 40.0, code)

    told = Console(file=io.StringIO(), width=200)
    counts = _follow(outcomes(), 3, told)
    assert asked == ["sub-1", "sub-2"]
    assert (counts[RunStatus.COMPLETED], counts[RunStatus.FAILED]) == (1, 1)
    assert "run the same command again" in told.file.getvalue()
    assert "sub-2\tfailed\tdisk_full" in capsys.readouterr().out


def test_rows_that_say_different_things_of_one_scan_give_neither_age_nor_sex(tmp_path):
    for label in ("1", "2"):
        anat = tmp_path / f"sub-{label}" / "anat"
        anat.mkdir(parents=True)
        (anat / f"sub-{label}_T1w.nii.gz").write_bytes(b"x")
    table = "participant_id\tage\tsex\nsub-1\t30\tM\nsub-1\t60\tF\nsub-2\t40\tF\nsub-2\t40\tF\n"
    (tmp_path / "participants.tsv").write_text(table)
    (tmp_path / "sub-2" / "sub-2_scans.tsv").write_text(
        "filename\tage\nanat/sub-2_T1w.nii.gz\t30\nanat/sub-2_T1w.nii.gz\t70\n"
    )
    first, second = read_dataset(tmp_path).scans
    assert (first.age.age, first.age.doubt.code, first.sex) == (None, "age_unusable", None)
    assert (second.age.age, second.age.doubt.code, second.sex) == (None, "age_unusable", Sex.F)
