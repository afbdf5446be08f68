"""Which images of a BIDS dataset are taken, and what its tables and sidecars say of each."""

import io
import json
import os

import pytest
from rich.console import Console

from med3d_cli.bids.ages import AgeUnits, VisitRows, read_sex, read_visit_age
from med3d_cli.bids.arguments import labels, spelt_out
from med3d_cli.bids.command import Level, _follow, bids
from med3d_cli.bids.dataset import read_dataset
from med3d_cli.bids.derivative import begin_derivative, files_of, holds_derivatives
from med3d_cli.bids.group_page import images_looked_at
from med3d_cli.bids.group_rows import GroupRow
from med3d_cli.bids.names import parse_name
from med3d_cli.bids.scans import Outcome
from med3d_cli.bids.sidecars import acquisition_of
from med3d_cli.bids.validation import installed_validator, own_rules, require_valid, validator_errors
from med3d_cli.errors import CommandError
from med3d_contract.results import RunStatus, Sex
from rig.faults.closed_files import closed, open_folder


def lay_out(root, files):
    """Write text, or JSON where it is a mapping, below ``root``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def image(*words):
    """The place of an image by its entities and suffix."""
    folders = [word for word in words if word.startswith(("sub-", "ses-"))]
    return "/".join([*folders, "anat", "_".join(words) + ".nii.gz"])


def table(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


DESCRIPTION = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.10.0"}}


def test_t1w_images_alone_are_taken_with_all_entities_and_the_others_are_said(tmp_path):
    taken = [
        image("sub-1", "ses-a", "acq-mprage", "run-2", "T1w"), image("sub-1", "ses-a", "ce-gadolinium", "rec-norm", "T1w"),
        image("sub-1", "ses-b", "echo-1", "part-mag", "T1w"),
    ]  # fmt: skip
    others = [
        image("sub-1", "ses-a", "FLAIR"), image("sub-1", "ses-a", "UNIT1"), image("sub-1", "ses-a", "mod-T1w", "defacemask"),
        image("sub-1", "ses-b", "part-phase", "T1w"), image("sub-1", "ses-b", "desc-preproc", "T1w"),
        "sub-1/ses-b/anat/head_t1.nii.gz", "derivatives/x/" + image("sub-1", "T1w"), "sourcedata/" + image("sub-2", "T1w"),
    ]  # fmt: skip
    found = read_dataset(lay_out(tmp_path, dict.fromkeys([*taken, *others], "x")))
    assert [scan.image.as_posix() for scan in found.scans] == taken
    assert found.passed_over == {
        "FLAIR": 1, "T1w that is no magnitude (part in its name)": 1, "UNIT1": 1, "defacemask": 1, "no name of BIDS": 1,
        "processed T1w (space or desc in its name)": 1,
    }  # fmt: skip
    assert files_of(found.scans[0]).answer.as_posix() == (
        "sub-1/ses-a/anat/sub-1_ses-a_acq-mprage_run-2_desc-med3d_brainage.json"
    )
    assert len({files_of(scan).answer for scan in found.scans}) == 3


def test_nearer_sidecars_go_before_farther_ones_and_tell_scanner_and_parameters(tmp_path):
    files = {
        image("sub-1", "ses-a", "T1w"): "x",
        "T1w.json": {"MagneticFieldStrength": 1.5, "Manufacturer": "Philips", "RepetitionTime": 9.9, "EchoTime": "n/a"},
        "ses-a_T1w.json": {"MagneticFieldStrength": 3, "InversionTime": 0.9},
        "ses-b_T1w.json": {"MagneticFieldStrength": 7}, "acq-x_T1w.json": {"FlipAngle": 90}, "FLAIR.json": {"EchoTime": 1},
        "sub-1/ses-a/anat/sub-1_ses-a_T1w.json": {"RepetitionTime": 2.3, "FlipAngle": 8},
        "sub-1/sub-1_T1w.json": "no JSON",
    }  # fmt: skip
    found = read_dataset(lay_out(tmp_path, files))
    told = found.scans[0].acquisition
    assert (told.field_strength_t, told.manufacturer, told.tr_ms, told.te_ms, told.ti_ms, told.flip_deg) == (
        3, "Philips", 2300, None, 900, 8
    )  # fmt: skip
    assert [path.name for path in found.unreadable_sidecars] == ["sub-1_T1w.json"]


@pytest.mark.parametrize(
    ("name", "said", "tesla", "agent"),
    [
        ("sub-1_T1w.nii", {"MagneticFieldStrength": 15000}, 1.5, None),
        ("sub-1_ce-gd_T1w.nii", {}, None, True),
        ("sub-1_T1w.nii", {"ContrastBolusIngredient": "GADOLINIUM"}, None, True),
    ],
)
def test_gauss_is_tesla_and_contrast_agent_is_seen(name, said, tesla, agent):
    told = acquisition_of(said, parse_name(name))
    assert (told.field_strength_t, told.contrast_agent) == (tesla, agent)


def age_of(*, participant=None, visit=None, session=None, scan=None, several=False, unit=""):
    units = AgeUnits({"age": unit})
    return read_visit_age(VisitRows(participant or {}, visit or {}, session or {}, scan or {}, several, units))


@pytest.mark.parametrize(
    ("told", "years"),
    [
        ({"participant": {"age": "34.5"}}, 34.5),
        ({"participant": {"age": "34,5"}}, 34.5),
        ({"participant": {"Age": "408"}, "unit": "months"}, 34.0),
        ({"participant": {"age": "34"}, "session": {"age": "36"}, "several": True}, 36),
        ({"participant": {"age": "34"}, "session": {"age": "36"}, "scan": {"age": "36.2"}}, 36.2),
        ({"participant": {"age": "34"}, "visit": {"age": "35"}, "several": True}, 35),
        (
            {"participant": {"birth_date": "1980-01-02"}, "scan": {"acq_time": "2010-01-02T10:00:00"}, "several": True},
            30,
        ),
        (
            {"participant": {"dob": "1980-01-02", "age": "29"}, "session": {"acq_time": "2010-01-02"}, "several": True},
            30,
        ),
    ],
)
def test_the_age_is_the_one_nearest_to_the_scan(told, years):
    assert age_of(**told).age.years == pytest.approx(years, abs=0.01)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"participant": {"age": "89+"}}, "a bound (89+)"),
        ({"participant": {"age": "> 89"}}, "a bound"),
        ({"participant": {"age": "forty"}}, "no number"),
        ({"participant": {"age": "1980"}}, "above 120 years"),
        ({"participant": {"age": "0"}}, "an age of 0"),
        ({"participant": {"age": "40"}, "unit": "decades"}, "the unit stated"),
        ({"participant": {"age": "40"}, "several": True}, "several sessions"),
        ({"participant": {"dob": "1980"}, "scan": {"acq_time": "noon"}}, "give no age"),
    ],
)
def test_an_age_that_is_no_use_is_left_out_and_why_is_said(told, why):
    reading = age_of(**told)
    assert reading.age is None
    assert reading.doubt.code == "age_unusable"
    assert why in reading.doubt.sentence


def test_an_age_that_is_not_written_is_no_doubt():
    assert age_of(participant={"age": ""}, several=True).doubt is None


@pytest.mark.parametrize(("text", "sex"), [("Male", Sex.M), ("f", Sex.F), ("O", None), ("", None)])
def test_sex_is_read_in_the_spellings_of_bids(text, sex):
    assert read_sex(text) is sex


def test_the_tables_of_a_dataset_are_read_and_one_age_is_not_that_of_two_visits(tmp_path):
    files = {
        image("sub-1", "ses-a", "T1w"): "x", image("sub-1", "ses-b", "T1w"): "x", image("sub-2", "ses-a", "T1w"): "x",
        image("sub-2", "ses-b", "FLAIR"): "x",
        "participants.tsv": table(("participant_id", "age", "sex"), ("sub-1", "40", "M"), ("2", "50", "O"), ("sub-3", "n/a", "F")),
        "sub-1/sub-1_sessions.tsv": table(("session_id", "age"), ("ses-a", "41"), ("ses-b", "n/a")),
        "sub-2/ses-a/sub-2_ses-a_scans.tsv": table(
            ("filename", "acq_time"), ("anat/sub-2_ses-a_T1w.nii.gz", "n/a"), ("anat/sub-2_ses-a_run-2_T1w.nii.gz", "n/a")
        ),
    }  # fmt: skip
    found = read_dataset(lay_out(tmp_path, files))
    ages = [scan.age.age and scan.age.age.years for scan in found.scans]
    assert ages == [41, None, None]
    assert "several sessions" in found.scans[1].age.doubt.sentence
    assert [scan.sex for scan in found.scans] == [Sex.M, Sex.M, None]
    assert [(one.participant, one.sentence.split(",")[0]) for one in found.missing] == [
        ("sub-2", "sub-2_ses-a_scans.tsv lists the image"),
        ("sub-2", "The session has images"),
        ("sub-3", "There is no image with a name in _T1w (participants.tsv lists the participant)."),
    ]


def test_content_that_was_not_fetched_is_missing_and_not_fatal(tmp_path):
    lay_out(tmp_path, {image("sub-1", "T1w"): "x"})
    (tmp_path / "sub-2" / "anat").mkdir(parents=True)
    (tmp_path / image("sub-2", "T1w")).symlink_to(tmp_path / ".git" / "annex" / "SHA256E-s1")
    found = read_dataset(tmp_path)
    assert [scan.participant for scan in found.scans] == ["sub-1"]
    assert ["DataLad" in one.sentence for one in found.missing] == [True]


def test_participants_and_sessions_may_be_named_and_unknown_ones_stop_the_command(tmp_path):
    lay_out(tmp_path, {image(sub, ses, "T1w"): "x" for sub in ("sub-1", "sub-2") for ses in ("ses-a", "ses-b")})
    found = read_dataset(tmp_path, ["sub-1"], ["b"])
    assert [scan.name.stem for scan in found.scans] == ["sub-1_ses-b_T1w"]
    with pytest.raises(CommandError, match="names 3, which the dataset does not have"):
        read_dataset(tmp_path, ["1", "3"])
    with pytest.raises(CommandError, match="names c, which the dataset does not have"):
        read_dataset(tmp_path, (), ["c"])


def test_a_folder_that_is_no_dataset_is_told(tmp_path):
    with pytest.raises(CommandError, match="no BIDS dataset"):
        read_dataset(lay_out(tmp_path, {"head.nii.gz": "x"}))


def test_labels_stand_behind_one_option_as_in_other_bids_apps():
    typed = ["IN", "OUT", "participant", "--participant_label", "01", "02", "--n_procs", "2", "--session-label=1,2"]
    assert list(spelt_out(typed)) == [
        "IN", "OUT", "participant", "--participant-label", "01", "--participant-label", "02", "--n-procs", "2",
        "--session-label=1,2",
    ]  # fmt: skip
    assert labels(["1,2", "3 4"]) == ["1", "2", "3", "4"]


def test_what_breaks_the_rules_that_are_relied_on_is_said(tmp_path):
    good = lay_out(tmp_path / "good", DESCRIPTION | {image("sub-1", "T1w"): "x"})
    assert own_rules(read_dataset(good)) == []
    bad = {
        "dataset_description.json": {"Name": "x"}, image("sub-1", "T1w"): "x", "sub-1/anat/t1.nii.gz": "x",
        "sub-1/anat/sub-2_T1w.nii": "x", "participants.tsv": table(("participant_id",), ("sub-1",), ("sub-1",)),
    }  # fmt: skip
    broken = own_rules(read_dataset(lay_out(tmp_path / "bad", bad)))
    assert broken == [
        "dataset_description.json has no BIDSVersion",
        "1 row of participants.tsv for a participant that has one already",
        "images with no name of BIDS: 1",
        "images with a name of another participant or session than the folder's: 1",
    ]
    with pytest.raises(CommandError, match="--skip-bids-validation"):
        require_valid(read_dataset(tmp_path / "bad"))


def test_the_validator_of_an_environment_that_is_not_activated_is_found(tmp_path):
    on_path, own = tmp_path / "path", tmp_path / "own"
    for folder in (on_path, own):
        folder.mkdir()
    assert installed_validator(str(on_path), own) is None
    for folder in (own, on_path):
        (folder / "bids-validator-deno").touch(mode=0o755)
        assert installed_validator(str(on_path), own) == str(folder / "bids-validator-deno")


def test_a_missing_image_is_counted_as_such_where_the_group_s_page_begins():
    rows = [GroupRow("1", None, "sub-1_T1w", "sub-1/x", {}), GroupRow("2", None, "sub-2_T1w", None, {})]
    step = images_looked_at({"FLAIR": 3}, rows)
    assert (step.words, step.count) == ("images looked at, 1 missing among them", 5)
    assert images_looked_at({}, rows[:1]).words == "images looked at"


def test_errors_of_both_kinds_of_validators_are_read():
    new = {"code": "NOT_INCLUDED", "severity": "error", "location": "/x"}
    old = {"code": 1, "key": "NOT_INCLUDED", "severity": "error"}
    assert validator_errors([new, new | {"severity": "warning"}, old]) == ["NOT_INCLUDED /x", "NOT_INCLUDED"]


def test_a_folder_of_others_is_not_written_to(tmp_path):
    dataset = lay_out(tmp_path / "in", DESCRIPTION)
    for foreign in (dataset, lay_out(tmp_path / "other", {"notes.txt": "x"}), lay_out(tmp_path / "d", DESCRIPTION)):
        with pytest.raises(CommandError, match=r"OUT is IN|another dataset"):
            begin_derivative(foreign, dataset)
    begin_derivative(dataset / "derivatives" / "med3d", dataset)
    begin_derivative(dataset / "derivatives" / "med3d", dataset)
    said = json.loads((dataset / "derivatives" / "med3d" / "dataset_description.json").read_text())
    assert (said["DatasetType"], said["DatasetLinks"]) == ("derivative", {"raw": "../.."})


def test_an_output_that_was_killed_while_it_began_is_begun_again_and_its_leavings_go(tmp_path):
    dataset, out = lay_out(tmp_path / "in", DESCRIPTION), tmp_path / "out"
    lay_out(out, {".med3d-abc/dataset_description.json": ""})
    begin_derivative(out, dataset)
    old = lay_out(out, {"sub-1/anat/.med3d-old/mask": "x", "sub-1/ses-1/anat/.med3d-old/mask": "x"})
    for place in (old / "sub-1" / "anat" / ".med3d-old", old / "sub-1" / "ses-1" / "anat" / ".med3d-old"):
        os.utime(place, (0, 0))
    (young := out / "sub-1" / "anat" / ".med3d-young").mkdir()
    begin_derivative(out, dataset)
    assert [path for path in out.rglob(".med3d-*") if path.name != ".med3d-abc"] == [young]


def test_what_fails_while_an_output_begins_leaves_a_folder_that_is_known_again(tmp_path):
    dataset, out = lay_out(tmp_path / "in", DESCRIPTION), tmp_path / "out"
    (out / "README").mkdir(parents=True)  # as good as a full disk: it cannot be written
    with pytest.raises(CommandError, match="holds another dataset"):
        begin_derivative(out, dataset)
    (out / "README").rmdir()
    (out / ".med3d-x").mkdir()
    begin_derivative(out, dataset)
    (out / "README").unlink()
    (out / "README").mkdir()
    with pytest.raises(CommandError, match="cannot be written"):
        begin_derivative(out, dataset)
    (out / "README").rmdir()
    begin_derivative(out, dataset)


@pytest.mark.parametrize("place", ["sub-9", "sub-1/anat/x", "sourcedata/med3d"])
def test_nothing_is_written_among_the_images(tmp_path, place):
    with pytest.raises(CommandError, match="among the images"):
        begin_derivative(tmp_path / place, lay_out(tmp_path, DESCRIPTION))


def scans_of(root, files):
    return {scan.name.stem: scan for scan in read_dataset(lay_out(root, files)).scans}


ONE, TWO = image("sub-1", "ses-1", "T1w"), image("sub-1", "ses-2", "T1w")
MONTHS = {"Units": "months"}


@pytest.mark.parametrize(
    ("files", "years", "why"),
    [
        ({TWO: "", "participants.tsv": (("participant_id", "session_id", "age"), ("1", "1", "30"), ("1", "2", ""))}, None, None),
        ({TWO: "", "participants.tsv": (("participant_id", "session_id", "age"), ("1", "1", "30"))}, None, None),
        ({TWO: "", "participants.tsv": (("participant_id", "session", "age"), ("1", "1", "30"), ("1", "2", "32"))}, 32, None),
        ({image("sub-1", "T1w"): "", "participants.tsv": (("participant_id", "session_id", "age"), ("1", "1", "30"))}, 30, None),
        ({image("sub-1", "T1w"): "", ONE: "", "participants.tsv": (("participant_id", "age"), ("1", "30"))}, None, "several"),
        ({ONE: "", "participants.tsv": (("participant_id", "age"), ("1", "30"), ("sub-1", "60"))}, None, "no number"),
        ({ONE: "", "sessions.json": {"age": MONTHS}, "sub-1/sub-1_sessions.tsv": (("session_id", "age"), ("1", "96"))}, 8, None),
        (
            {
                ONE: "", "sessions.json": {"age": MONTHS}, "sub-1/sub-1_sessions.json": {"Age": {"Units": "years"}},
                "sub-1/sub-1_sessions.tsv": (("session_id", "age"), ("1", "96")),
            },
            96, None,
        ),
        ({ONE: "", "participants.json": {"age_at_scan": MONTHS}, "participants.tsv": (("participant_id", "age_at_scan"), ("1", "96"))}, 8, None),
        ({ONE: "", "participants.json": "{,}", "participants.tsv": (("participant_id", "age"), ("1", "96"))}, None, "participants.json is no JSON"),
        (
            {ONE: "", "participants.json": {"age": MONTHS}, "sub-1/sub-1_sessions.tsv": (("session_id", "age"), ("1", "40"))},
            None, "no sessions.json says",
        ),
    ],
)  # fmt: skip
def test_an_age_is_of_this_session_alone_and_in_the_unit_of_its_own_table(tmp_path, files, years, why):
    told = {name: table(*said) if isinstance(said, tuple) else said for name, said in files.items()}
    age = list(scans_of(tmp_path, told).values())[-1].age
    assert (age.age.years if age.age else None) == years
    assert (why in age.doubt.sentence) if why else age.doubt is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("participant_id\tn\nsub-1\tM\xfcller\n".encode("latin-1"), "line 2 is not UTF-8 text. Save"),
        ("participant_id\n".encode("utf-16"), "it is UTF-16 text. Save it as UTF-8"),
        (b'participant_id\tn\tage\nsub-1\t"tall\t40\nsub-2\tx\t50\n', "a quotation mark in row 1"),
        (b"participant_id\nsub-1" + b"0" * 200_000, "field larger"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_to_mend(tmp_path, content, why):
    lay_out(tmp_path, {image("sub-1", "T1w"): "x"})
    (tmp_path / "participants.tsv").write_bytes(content)
    with pytest.raises(CommandError, match=why):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    "said", ["[" * 100_000, '{"MagneticFieldStrength": 1' + "0" * 400 + "}", '{"Manufacturer": "\\ud800"}']
)
def test_a_hostile_sidecar_costs_no_more_than_itself(tmp_path, said):
    files = {image("sub-1", "T1w"): "x", "T1w.json": said, "participants.json": said}
    told = scans_of(tmp_path, files)["sub-1_T1w"].acquisition
    assert (told.field_strength_t, told.manufacturer or "?") == (None, "?")


def test_labels_that_are_paths_or_commands_to_a_screen_are_counted_and_never_followed(tmp_path):
    ids = [("sub-1",), ("sub-1/../../x",), ("x" * 300,), ("a\x1b[31m",), ("",)]
    files = {image("sub-1", "T1w"): "x", "participants.tsv": table(("participant_id",), *ids)}
    lay_out(
        tmp_path,
        files | {"sub-1/sub-1_scans.tsv": table(("filename",), (f"anat/sub-{'a' * 300}_T1w.nii",))} | DESCRIPTION,
    )
    (tmp_path / os.fsdecode(b"sub-\xff") / "anat").mkdir(parents=True)
    found = read_dataset(tmp_path)
    assert [scan.participant for scan in found.scans] == ["sub-1"]
    assert [one.sentence for one in found.missing] == ["sub-1_scans.tsv lists the image, and it is not there."]
    assert own_rules(found) == ["folders or participants with a label that is none of BIDS (letters and digits): 4"]


def test_what_people_leave_in_tables_and_folders_is_no_fault_of_the_dataset(tmp_path):
    rows = table(
        ("participant_id ", "session", "age"), ("sub-1", "1", "40"), ("1", "2", "42"), ("", "", ""), ("", "", "")
    )
    files = DESCRIPTION | {ONE: "x", TWO: "x", "participants.tsv": rows}
    assert own_rules(read_dataset(lay_out(tmp_path / "good", files))) == []
    twice = DESCRIPTION | {
        ONE: "x",
        "participants.tsv": table(("participant_id",), ("1",), ("sub-1",)),
        "participants.json": "[",
    }
    assert own_rules(read_dataset(lay_out(tmp_path / "bad", twice))) == [
        "1 row of participants.tsv for a participant that has one already", "participants.json is no JSON object"
    ]  # fmt: skip


def test_a_scan_is_read_once_and_only_what_can_be_read(tmp_path):
    lay_out(tmp_path, {ONE: "x", "sub-2/anat/sub-2_T1w.NII.GZ": "x", "sub-3/anat/sub-3_T1w.nii.gz/x": "x"})
    (tmp_path / ONE.replace(".nii.gz", ".nii")).symlink_to("nowhere")
    found = read_dataset(tmp_path, ["1", "sub-1", "2", "3"])
    assert [scan.image.as_posix() for scan in found.scans] == [ONE]
    assert found.passed_over == {"no name of BIDS": 2, "the same name as .nii and .nii.gz": 1}
    with pytest.raises(CommandError, match="--session-label names 9,"):
        read_dataset(tmp_path, (), ["1", "9"])


@pytest.mark.parametrize("kind", [{}, {"DatasetType": "derivative"}])
@pytest.mark.parametrize("images", [[image("sub-1", "desc-preproc", "T1w")], [image("sub-1", "space-MNI", "T1w")]])
def test_derivatives_are_named_as_such(tmp_path, kind, images):
    files = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.10.0"} | kind, **dict.fromkeys(images, "x")}
    lay_out(tmp_path / "in", files)
    with pytest.raises(CommandError, match="name the dataset that it was made of"):
        bids(tmp_path / "in", tmp_path / "out", Level.PARTICIPANT)
    assert not (tmp_path / "out").exists()


def test_a_derivative_that_holds_scans_is_taken_as_it_is(tmp_path):
    described = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}}
    assert not holds_derivatives(read_dataset(lay_out(tmp_path, {**described, image("sub-1", "T1w"): "x"})))


@pytest.mark.parametrize(("scans", "said"), [(0, "there is no scan to analyse"), (1, "1 scan: 1 refused")])
def test_scans_are_counted_in_right_words(scans, said):
    stderr = Console(file=io.StringIO())
    _follow([Outcome("sub-1_T1w", RunStatus.REFUSED, code="not_mr")] * scans, scans, stderr)
    assert stderr.file.getvalue().strip() == said


@pytest.mark.parametrize("part", ["sub-1", "sub-1/anat"])
def test_a_folder_that_is_closed_to_us_is_no_missing_image(part):
    with open_folder() as folder:
        lay_out(folder, {**DESCRIPTION, image("sub-1", "T1w"): "x", image("sub-2", "T1w"): "x"})
        with closed(folder / part), pytest.raises(CommandError, match="of sub-1 cannot be read: Permission denied"):
            read_dataset(folder)
        assert len(read_dataset(folder).scans) == 2
