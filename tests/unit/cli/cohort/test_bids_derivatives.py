import csv
import json

import pytest

from med3d_cli.cohort.bids_derivatives import COLUMNS, write_derivatives
from med3d_cli.errors import CommandError


def row(name, study, age, brain_age, visit="", bundle="b@2"):
    empty = dict.fromkeys(COLUMNS, "")
    return empty | {
        "participant_id": name, "study_id": study, "visit": visit, "age": age, "brain_age": brain_age, "bundle": bundle
    }  # fmt: skip


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_participants_have_their_newest_answer_and_visits_a_table_of_their_own(tmp_path):
    rows = [
        row("IXI-1", "s1", "40", "42.5"), row("IXI-1", "s1", "40", "41", bundle="b@1"), row("", "s9", "1", "1"),
        row("sub-2", "s2", "50", "51", "ses-a"), row("sub-2", "s3", "52", "54", "ses-b"),
    ]  # fmt: skip
    assert write_derivatives(tmp_path, rows) == 2
    folder = tmp_path / "derivatives" / "med3d"
    second, first = read(folder / "participants.tsv")
    assert (first["participant_id"], first["brain_age"], first["bundle"], first["sdmt"]) == (
        "sub-IXI1",
        "42.5",
        "b@2",
        "n/a",
    )
    assert (second["participant_id"], second["brain_age"]) == ("sub-2", "54")
    sessions = read(folder / "sub-2" / "sub-2_sessions.tsv")
    assert [(one["session_id"], one["brain_age"]) for one in sessions] == [("ses-a", "51"), ("ses-b", "54")]
    sidecar = json.loads((folder / "participants.json").read_text())
    assert set(sidecar) == set(first)
    assert json.loads((folder / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert "Research use only" in (folder / "README").read_text()


def test_scans_that_the_model_learned_from_are_told(tmp_path):
    write_derivatives(
        tmp_path, [row("sub-1", "s1", "40", "40") | {"reason_codes": "training_scan"}, row("sub-2", "s2", "", "")]
    )
    folder = tmp_path / "derivatives" / "med3d"
    assert [one["reason_codes"] for one in read(folder / "participants.tsv")] == ["training_scan", "n/a"]
    assert "training_scan" in json.loads((folder / "participants.json").read_text())["reason_codes"]["Description"]


def test_one_person_s_visits_without_ages_are_in_the_order_of_their_names(tmp_path):
    rows = [
        row("sub-1", study, "", brain_age, visit)
        for study, brain_age, visit in (("s3", "58", "ses-10"), ("s2", "52", "ses-2"), ("s1", "50", "ses-1"))
    ]
    assert write_derivatives(tmp_path, rows) == 1
    folder = tmp_path / "derivatives" / "med3d"
    assert [one["session_id"] for one in read(folder / "sub-1" / "sub-1_sessions.tsv")] == ["ses-1", "ses-2", "ses-10"]
    assert [one["brain_age"] for one in read(folder / "participants.tsv")] == ["58"]


def test_two_people_whose_names_become_one_label_are_not_mixed(tmp_path):
    with pytest.raises(CommandError, match="same BIDS label"):
        write_derivatives(tmp_path, [row("A-1", "s1", "", ""), row("A1", "s2", "", "")])


def test_a_cohort_without_names_has_no_derivatives(tmp_path):
    with pytest.raises(CommandError, match="no answers"):
        write_derivatives(tmp_path, [row("", "s1", "", "")])
    assert list(tmp_path.iterdir()) == []
