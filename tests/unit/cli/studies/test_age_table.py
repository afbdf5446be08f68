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


def test_a_link_is_found_by_its_own_name_and_never_by_its_target_s(tmp_path):
    (tmp_path / "store").mkdir()
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / "store" / f"{other}.nii.gz").write_text("x")
        (tmp_path / f"{name}.nii.gz").symlink_to(tmp_path / "store" / f"{other}.nii.gz")
    first, second = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    found = read_ages(table(tmp_path, "name,age\na,20\nb,70\n"), [first, second])
    assert (years(found, first), years(found, second)) == (20, 70)


def test_an_age_of_nought_stands_for_none(tmp_path):
    found = read_ages(table(tmp_path, "name,age\nann,0\n"), [tmp_path / "ann"])
    assert (found.ages[tmp_path / "ann"].age, found.ages[tmp_path / "ann"].doubt.code) == (None, "age_unusable")


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
        ("name,age\nann,43,5\n", "line 2 has more cells than the first line"),
        ('name,age\n"ann,40\nben,41\n', "a quotation mark is left open"),
        (f'name,age\nann,"{"4" * 140_000}"\n', "a cell is too long"),
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
