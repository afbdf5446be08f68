"""Routing rules: which arriving series are worth a run, and what is said about a file that holds none."""

import json

import pytest
from typer.testing import CliRunner

from med3d_cli.main import make_app
from med3d_service.storage.tables import RunRow
from med3d_service.studies.arrivals.routing import EVERY_MR, InvalidRulesError, load_rules
from med3d_service.studies.dicom_instances.instance_headers import read_headers
from rig.service.arriving import Intake, saved, slices

RULES = """
[[rule]]
name = "no test object"
action = "ignore"
description = ["*phantom*"]

[[rule]]
name = "stroke unit"
modality = ["MR"]
ae_title = ["STROKE*"]
body_part = ["HEAD", "BRAIN"]
priority = "stat"

[[rule]]
name = "adults T1"
modality = ["MR"]
description = ["*t1*", "*mprage*"]
not_description = ["*localizer*"]
age_years = [18, 100]
bundle = "infovae-two-sites"
"""


def rules_file(folder, text=RULES):
    path = folder / "rules.toml"
    path.write_text(text)
    return path


def judged(rules, ae_title="SCANNER", **header):
    verdict = rules.judge(read_headers(saved(slices(1, **header)[0])), ae_title)
    return verdict.rule.name if verdict.rule else None, verdict.is_wanted


@pytest.mark.parametrize(
    ("ae_title", "header", "decided", "wanted"),
    [
        ("SCANNER", {"SeriesDescription": "T1 phantom"}, "no test object", False),
        ("STROKE1", {"BodyPartExamined": "HEAD"}, "stroke unit", True),
        ("STROKE1", {}, "stroke unit", True),
        ("STROKE1", {"BodyPartExamined": "KNEE", "SeriesDescription": "pd"}, None, False),
        ("SCANNER", {"SeriesDescription": "Sag MPRAGE", "PatientAge": "040Y"}, "adults T1", True),
        (
            "SCANNER",
            {"ProtocolName": "t1_mpr", "PatientBirthDate": "19800101", "StudyDate": "20200101"},
            "adults T1",
            True,
        ),
        ("SCANNER", {"SeriesDescription": "T1", "PatientAge": "009Y"}, None, False),
        ("SCANNER", {"SeriesDescription": "T1"}, "adults T1", True),
        ("SCANNER", {"SeriesDescription": "T1 localizer", "PatientAge": "040Y"}, None, False),
    ],
)
def test_the_first_rule_that_fits_decides(tmp_path, ae_title, header, decided, wanted):
    assert judged(load_rules(rules_file(tmp_path)), ae_title, **header) == (decided, wanted)


def test_without_a_file_every_mr_image_is_wanted():
    assert load_rules(None) is EVERY_MR
    assert judged(EVERY_MR) == ("every MR image", True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "rule"),
        ("[[rule]\n", "no TOML"),
        ('[[rule]]\nname = "a"\ncolour = "red"', "rule.0.colour"),
        ('[[rule]]\nname = "a"\npriority = "soon"', "rule.0.priority"),
        ('[[rule]]\nname = "a"\nage_years = [60, 20]', "lowest"),
        ('[[rule]]\nname = "a"\nage_years = [20]', "age_years"),
        ('[[rule]]\nname = "a"\n[[rule]]\nname = "a"', "same name"),
        ('[[rule]]\nname = "a"\naction = "ignore"\nbundle = "b"', "no bundle"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_the_place(tmp_path, text, says):
    with pytest.raises(InvalidRulesError, match=says):
        load_rules(rules_file(tmp_path, text))


def test_a_study_that_no_rule_wants_is_kept_and_gets_no_run(tmp_path):
    text = '[[rule]]\nname = "only t1"\ndescription = ["t1*"]\npriority = "stat"'
    intake = Intake(tmp_path, rules=load_rules(rules_file(tmp_path, text)))

    assert intake.take(*slices(2, series="a", SeriesDescription="FLAIR")) == ["stored", "stored"]
    assert intake.arrivals.mark_complete("default", "1.2.3").run_id is None

    intake.take(*slices(3, series="b", SeriesDescription="T1 mprage"))
    assert intake.arrivals.mark_complete("default", "1.2.3").run_id is not None
    with intake.database.read() as session:
        [run] = session.query(RunRow).all()
    assert run.priority == 0
    intake.database.close()


def test_the_command_says_what_would_happen_and_why(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    text = '[[rule]]\nname = "t1 alone"\ndescription = ["t1*"]\npriority = "stat"'
    for description in ("T1 mprage", "FLAIR"):
        for number, one in enumerate(slices(2, series=description, SeriesDescription=description)):
            (folder / f"{description}{number}").write_bytes(saved(one))
    (folder / "notes.txt").write_text("no image")

    said = CliRunner().invoke(
        make_app(), ["rules", "test", str(folder), "--rules", str(rules_file(tmp_path, text))], env={"COLUMNS": "200"}
    )

    assert said.exit_code == 0
    lines = {word: next(line for line in said.output.splitlines() if word in line) for word in ("mprage", "FLAIR")}
    assert "run, stat" in lines["mprage"]
    assert "rule 't1 alone'" in lines["mprage"]
    assert "kept, no run" in lines["FLAIR"]
    assert "'t1 alone' does not fit: description" in lines["FLAIR"]
    assert "1 file would be refused: not_dicom" in said.output

    answer = CliRunner().invoke(
        make_app(), ["rules", "test", str(folder), "--rules", str(rules_file(tmp_path, text)), "--json"]
    )
    told = json.loads(answer.stdout)
    series = {one["description"]: one for one in told["series"]}
    assert told["refused_files"] == {"not_dicom": 1}
    t1, flair = series["T1 mprage"], series["FLAIR"]
    assert (t1["images"], t1["runs"], t1["rule"], t1["priority"]) == (2, True, "t1 alone", "stat")
    assert (flair["runs"], flair["rule"], flair["priority"]) == (False, None, None)
    assert "'t1 alone' does not fit: description" in flair["why"]


def test_the_command_names_the_mistake_in_the_rules(tmp_path):
    said = CliRunner().invoke(make_app(), ["rules", "test", str(tmp_path), "--rules", str(rules_file(tmp_path, "x"))])
    assert said.exit_code != 0
    assert "no TOML" in str(said.exception)


ABSENT = """
[[rule]]
name = "no t2"
action = "ignore"
description = ["*t2*"]

[[rule]]
name = "only t1"
action = "ignore"
not_description = ["*t1*"]

[[rule]]
name = "no spines"
action = "ignore"
body_part = ["*SPINE*"]

[[rule]]
name = "adults"
description = ["*t1*"]
age_years = [18, 100]
"""


def test_what_a_series_does_not_state_is_never_a_reason_to_ignore_it(tmp_path):
    file = rules_file(tmp_path, ABSENT)
    rules = load_rules(file)
    assert judged(rules, SeriesDescription="", ProtocolName="", BodyPartExamined="") == ("adults", True)
    assert judged(rules, SeriesDescription="FLAIR") == ("only t1", False)
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(saved(slices(1, SeriesDescription="", ProtocolName="", BodyPartExamined="")[0]))
    said = (
        CliRunner()
        .invoke(make_app(), ["rules", "test", str(folder), "--rules", str(file)], env={"COLUMNS": "300"})
        .output
    )
    assert "absent, which is no reason to ignore" in " ".join(said.split())
