"""Ages of many inputs from one table, as people keep them."""

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.age_table import read_ages


def table(folder, text, name="ages.csv"):
    path = folder / name
    path.write_text(text)
    return path


def years(found, path):
    return found.ages[path].age.years


@pytest.mark.parametrize(
    "text",
    ["participant_id,age\nann,43.5\n", "name;Age\nann.nii.gz;43,5\n", "sex\tfile\tage_years\nF\tin/ann.nii.gz\t43.5\n"],
)
def test_an_input_is_found_by_name_or_path_whatever_parts_the_columns(tmp_path, text):
    head = tmp_path / "in" / "ann.nii.gz"
    found = read_ages(table(tmp_path, text), [head, tmp_path / "in" / "ben.nii.gz"])
    assert years(found, head) == 43.5
    assert found.ages[head].age.note == "from ages.csv"
    assert len(found.ages) == 1


def test_a_row_that_fits_no_input_is_told_and_not_lost(tmp_path):
    found = read_ages(table(tmp_path, "name,age\nzoe,30\nann,40\n"), [tmp_path / "ann"])
    assert found.unused_rows == ("zoe",)


def test_a_bound_is_no_age_and_a_gap_in_the_table_none_either(tmp_path):
    old, unknown = tmp_path / "old.nii", tmp_path / "unknown.nii"
    found = read_ages(table(tmp_path, "name,age\nold,89+\nunknown,n/a\n"), [old, unknown])
    assert found.ages[old].age is None
    assert found.ages[old].doubt.code == "age_unusable"
    assert (found.ages[unknown].age, found.ages[unknown].doubt) == (None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line must name a column"),
        ("name,sex\nann,F\n", "it has name, sex"),
        ("name,age\nann,40\nann,41\n", "lines 2 and 3 give ann different ages"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_what_to_mend(tmp_path, text, said):
    with pytest.raises(CommandError, match=said) as refused:
        read_ages(table(tmp_path, text), [tmp_path / "ann"])
    assert refused.value.exit_code == 2


def test_a_name_that_two_inputs_have_is_never_given_to_either(tmp_path):
    twice = [tmp_path / "first" / "t1.nii", tmp_path / "second" / "t1.nii"]
    with pytest.raises(CommandError, match="t1 fits 2 inputs; write the path of one"):
        read_ages(table(tmp_path, "name,age\nt1,40\n"), twice)
    found = read_ages(table(tmp_path, "path,age\nsecond/t1.nii,40\n", "paths.csv"), twice)
    assert years(found, twice[1]) == 40
