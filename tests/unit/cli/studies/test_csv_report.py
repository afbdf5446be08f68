import csv
from pathlib import Path

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.csv_report import COLUMNS, MEASURES, csv_report, csv_row
from med3d_contract.results import Failure, RunStatus
from med3d_pipeline.preprocessing.quality import MEASURE_WORDS
from med3d_worker.analysis import AnalysedInput
from rig.service.work import PROVENANCE, QUALITY, REFUSAL, SERIES, result

KNOWN = {"series": SERIES, "quality": QUALITY, "provenance": PROVENANCE}
COMPLETED = AnalysedInput(input="a, b.nii", status=RunStatus.COMPLETED, result=result(), **KNOWN)
REFUSED = AnalysedInput(input="fruit", status=RunStatus.REFUSED, refusal=REFUSAL, **KNOWN)


def test_rows_come_back_as_written(tmp_path):
    path = tmp_path / "out.csv"
    with csv_report(path) as (write, _):
        write(COMPLETED, "a" * 64)
        write(REFUSED, "b" * 64)
    first, second = csv.DictReader(path.read_text().splitlines())
    assert first["input"] == "a, b.nii"
    assert float(first["brain_age_years"]) == 52.0
    assert (first["brain_age_lower"], first["brain_age_upper"], first["decision"]) == ("44.0", "60.0", "review")
    assert (second["status"], second["code"], second["brain_age_years"]) == ("refused", "not_a_head", "")


@pytest.mark.parametrize("name", ['=HYPERLINK("http://x")', "+1", "-1", "@x", "\tx"])
def test_no_name_is_a_formula_to_a_spreadsheet(tmp_path, name):
    path = tmp_path / "out.csv"
    with csv_report(path) as (write, _):
        write(AnalysedInput(input=name, status=RunStatus.COMPLETED, result=result(), **KNOWN), "a" * 64)
    [row] = csv.DictReader(path.read_text().splitlines())
    assert row["input"] == f"'{name}"


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path):
    with csv_report(tmp_path / "out.csv") as (write, _):
        write(COMPLETED, "a" * 64)
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("report", [COMPLETED, REFUSED])
def test_every_value_has_a_column(report):
    assert csv_row(report).keys() <= set(COLUMNS)


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path):
    with pytest.raises(CommandError, match="cannot be written"), csv_report(tmp_path / "no" / "out.csv"):
        pass


def test_a_report_that_is_there_is_not_replaced(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("a night's work\n")
    with pytest.raises(CommandError, match="is not replaced"), csv_report(path):
        pass
    assert path.read_text() == "a night's work\n"


FAILED = AnalysedInput(
    input="head.nii", status=RunStatus.FAILED, failure=Failure(code="broke", reason="It broke.", retryable=True)
)


def test_a_report_is_gone_on_with_where_it_stopped_and_failures_are_done_again(tmp_path):
    path = tmp_path / "out.csv"
    with csv_report(path) as (write, standing):
        assert standing == {}
        write(COMPLETED, "a" * 64)
        write(FAILED, "b" * 64)
    path.write_text(path.read_text() + "half of a ro")
    with csv_report(path, resume=True) as (write, standing):
        assert standing == {"a" * 64: "completed"}
        write(REFUSED, "c" * 64)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [(row["status"], row["basis"][:1]) for row in rows] == [("completed", "a"), ("refused", "c")]


def test_a_table_of_something_else_is_not_gone_on_with(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("name,age\nann,4\n")
    with pytest.raises(CommandError, match="was not written by this release"), csv_report(path, resume=True):
        pass
    assert path.read_text() == "name,age\nann,4\n"


def test_every_measure_of_quality_has_a_column():
    assert set(MEASURE_WORDS) <= set(MEASURES)
    measured = QUALITY.model_copy(update={"measures": {"template_overlap": 0.93}})
    row = csv_row(COMPLETED.model_copy(update={"quality": measured}))
    assert (row["quality_template_overlap"], row["quality_signal_to_noise"]) == (0.93, None)


def test_versions_and_digests_have_columns():
    row = csv_row(COMPLETED)
    assert row["bundle_digest"] == PROVENANCE.bundle_digest
    assert all(version in row["software"] for version in PROVENANCE.software.values())


def test_what_was_done_about_the_site_has_a_column():
    assessment = result().assessment.model_copy(update={"site_correction": "unknown_site"})
    told = COMPLETED.model_copy(update={"result": result().model_copy(update={"assessment": assessment})})
    assert (csv_row(told)["site_correction"], csv_row(COMPLETED)["site_correction"]) == ("unknown_site", None)


def test_the_site_that_an_answer_is_calibrated_for_has_a_column():
    assessment = result().assessment.model_copy(update={"calibrated_for": "Ward 3"})
    told = COMPLETED.model_copy(update={"result": result().model_copy(update={"assessment": assessment})})
    assert (csv_row(told)["calibrated_for"], csv_row(COMPLETED)["calibrated_for"]) == ("Ward 3", None)


def test_an_input_that_is_asked_anew_on_another_basis_or_was_cut_off_has_one_row(tmp_path):
    path = tmp_path / "out.csv"
    with csv_report(path) as (write, _):
        write(COMPLETED, "a" * 64)
    with csv_report(path, resume=True, asked={COMPLETED.input: "b" * 64}) as (write, standing):
        assert standing == {}
        write(COMPLETED, "b" * 64)
    assert path.read_text().count("\n") == 2
    path.write_text(path.read_text()[:-6])
    with csv_report(path, resume=True, asked={COMPLETED.input: "b" * 64}) as (_, standing):
        assert standing == {}


def test_a_disk_that_fills_is_one_clear_line():
    with pytest.raises(CommandError, match="cannot be written"), csv_report(Path("/dev/full")):
        pass
