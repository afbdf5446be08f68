import pytest

from med3d_cli.calibration.calibration_list import read_list
from med3d_cli.errors import CommandError


def bids(folder, participants, sessions=()):
    """A dataset whose participants all have an image but sub-none."""
    lines = [line.split(" ") for line in participants.splitlines()]
    (folder / "participants.tsv").write_text("\n".join("\t".join(words) for words in lines) + "\n")
    for name, *_ in lines[1:]:
        if name != "sub-none":
            for session in sessions or ("",):
                place = folder / name / session / "anat"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{name}_T1w.nii.gz").touch()
    return folder


def csv(folder, text, *files):
    for name in files:
        (folder / name).touch()
    path = folder / "heads.csv"
    path.write_text(text)
    return path


def codes(found):
    return [(one.row, one.code) for one in found.left_out]


def test_a_bids_dataset_gives_one_head_a_person_with_the_age_of_its_session(tmp_path):
    place = bids(tmp_path, "participant_id age\nsub-1 30\nsub-2 n/a\nsub-none 40", ("ses-1", "ses-2"))
    (place / "sub-1" / "sub-1_sessions.tsv").write_text("session_id\tage\nses-1\t31.5\nses-2\t35\n")
    found = read_list(place)
    assert [(head.row, head.age_years, head.path.parts[-3]) for head in found.heads] == [
        (2, 31.5, "ses-1"), (3, None, "ses-1"),
    ]  # fmt: skip
    assert codes(found) == [(4, "no_image")]


def test_a_row_that_names_a_session_is_about_that_session_s_head(tmp_path):
    rows = "participant_id session_id age\nsub-1 ses-2 35\nsub-2 1 41\nsub-3 ses-7 50\nsub-1 ses-1 30"
    found = read_list(bids(tmp_path, rows, ("ses-1", "ses-2")))
    assert [(head.row, head.age_years, head.path.parts[-3]) for head in found.heads] == [
        (2, 35.0, "ses-2"), (3, 41.0, "ses-1"),
    ]  # fmt: skip
    assert codes(found) == [(4, "no_image"), (5, "same_person")]


def test_a_csv_gives_paths_beside_it_and_ages(tmp_path):
    found = read_list(csv(tmp_path, 'path,age\na.nii,41\nb.nii,"42,5"\n', "a.nii", "b.nii"))
    assert [(head.path.name, head.age_years) for head in found.heads] == [("a.nii", 41.0), ("b.nii", 42.5)]
    assert found.left_out == ()


def test_rows_have_the_numbers_that_a_spreadsheet_shows(tmp_path):
    text = 'path,age,note\n\na.nii,41,"two\nlines"\n\n\nb.nii,old\n'
    found = read_list(csv(tmp_path, text, "a.nii", "b.nii"))
    assert ([head.row for head in found.heads], codes(found)) == ([3], [(6, "age_unusable")])


@pytest.mark.parametrize("column", ["site", "Scanner", "Site-ID", "MagneticFieldStrength"])
def test_a_column_that_names_several_scanners_is_told(tmp_path, column):
    text = f"path,age,{column},note\na.nii,41,A 1,x\nb.nii,42,a 1,y\nc.nii,43,{{}},z\nd.nii,44,n/a,z\ne.nii,old,C,z\n"
    names = [f"{letter}.nii" for letter in "abcde"]
    assert read_list(csv(tmp_path, text.format("A 1"), *names)).several_scanners == []
    assert read_list(csv(tmp_path, text.format("B"), *names)).several_scanners == ["A 1", "B"]


def test_a_folder_with_participants_csv_is_read(tmp_path):
    csv(tmp_path, "t1w,age\na.nii,41\n", "a.nii").rename(tmp_path / "participants.csv")
    assert len(read_list(tmp_path).heads) == 1


def test_other_groups_than_healthy_ones_are_counted_as_patients(tmp_path):
    found = read_list(bids(tmp_path, "participant_id age Group\nsub-1 30 Control\nsub-2 31 depr\nsub-3 32 depr"))
    assert (len(found.heads), found.patients) == (1, {"in the column Group:": 2})
    assert codes(found) == [(3, "not_healthy"), (4, "not_healthy")]


def test_the_words_that_mean_healthy_may_be_named_and_then_others_are_left_out(tmp_path):
    place = bids(tmp_path, "participant_id age group\nsub-1 30 A\nsub-2 31 B\nsub-3 32 control")
    found = read_list(place, ["a"])
    assert ([head.row for head in found.heads], found.patients) == ([2], {})
    assert codes(found) == [(3, "not_healthy"), (4, "not_healthy")]


def test_a_row_without_a_group_among_others_that_have_one_is_left_out(tmp_path):
    found = read_list(bids(tmp_path, "participant_id age group\nsub-1 30 control\nsub-2 31 n/a"))
    assert codes(found) == [(3, "group_not_stated")]
    assert codes(read_list(bids(tmp_path, "participant_id age group\nsub-1 30 n/a\nsub-2 31 n/a"))) == []


def test_a_person_or_a_file_counts_once(tmp_path):
    text = "path,age,participant_id\na.nii,41,P\nb.nii,41,P\n"
    assert codes(read_list(csv(tmp_path, text, "a.nii", "b.nii"))) == [(3, "same_person")]
    assert codes(read_list(csv(tmp_path, "path,age\na.nii,41\n./a.nii,41\n", "a.nii"))) == [(3, "same_person")]


@pytest.mark.parametrize("age", ["old", "-3", "999", "nan"])
def test_an_age_that_is_none_leaves_its_row_out(tmp_path, age):
    assert codes(read_list(csv(tmp_path, f"path,age\na.nii,{age}\n", "a.nii"))) == [(2, "age_unusable")]


def test_a_path_that_leads_to_nothing_leaves_its_row_out(tmp_path):
    assert codes(read_list(csv(tmp_path, "path,age\ngone.nii,3\n,4\n"))) == [(2, "no_image"), (3, "no_image")]


def test_what_is_no_list_is_one_clear_line(tmp_path):
    with pytest.raises(CommandError, match=r"neither participants.tsv nor participants.csv"):
        read_list(tmp_path)
    with pytest.raises(CommandError, match="the column path is missing"):
        read_list(csv(tmp_path, "age\n3\n"))


@pytest.mark.parametrize("column", ["dx_group", "DX_GROUP", "condition", "diagnosis_group", "Patient group", "dx"])
def test_a_column_of_any_usual_name_tells_who_is_healthy(tmp_path, column):
    found = read_list(csv(tmp_path, f"path,age,{column}\na.nii,41,HC\nb.nii,42,Doe^John\n", "a.nii", "b.nii"))
    assert ([head.row for head in found.heads], found.patients) == ([2], {f"in the column {column}:": 1})
    assert "Doe" not in repr(found.left_out)


def test_every_filled_column_must_say_healthy(tmp_path):
    text = "path,age,group,diagnosis\na.nii,41,control,MS\nb.nii,42,control,n/a\nc.nii,43,control,none\n"
    found = read_list(csv(tmp_path, text, "a.nii", "b.nii", "c.nii"))
    assert ([head.row for head in found.heads], found.patients) == ([3, 4], {"in the column diagnosis:": 1})


def test_a_word_that_means_healthy_without_a_column_for_it_is_an_error(tmp_path):
    for text in ("path,age\na.nii,41\n", "path,age,group\na.nii,41,\n"):
        with pytest.raises(CommandError, match=r"--healthy .* no column of heads\.csv tells who is healthy"):
            read_list(csv(tmp_path, text, "a.nii"), ["control"])


def test_it_is_known_whether_any_column_tells_who_is_healthy(tmp_path):
    assert not read_list(csv(tmp_path, "path,age\na.nii,41\n", "a.nii")).tells_health
    assert read_list(csv(tmp_path, "path,age,group\na.nii,41,hc\n", "a.nii")).tells_health


def test_a_person_is_the_same_however_the_id_is_spelt(tmp_path):
    text = "path,age,participant_id\na.nii,41,sub-P1\nb.nii,41,p1\nc.nii,41,SUB-p1\n"
    assert codes(read_list(csv(tmp_path, text, "a.nii", "b.nii", "c.nii"))) == [(3, "same_person"), (4, "same_person")]


def test_a_file_counts_once_under_whatever_ids_and_links(tmp_path):
    (tmp_path / "link.nii").symlink_to(tmp_path / "a.nii")
    text = "path,age,participant_id\na.nii,41,P\n./a.nii,41,Q\nlink.nii,41,R\n"
    assert codes(read_list(csv(tmp_path, text, "a.nii"))) == [(3, "same_person"), (4, "same_person")]


@pytest.mark.parametrize("age", ["17.9", "100.5", "0"])
def test_only_adults_are_taken(tmp_path, age):
    found = read_list(csv(tmp_path, f"path,age\na.nii,{age}\nb.nii,18\nc.nii,100\n", "a.nii", "b.nii", "c.nii"))
    assert (codes(found), [head.row for head in found.heads]) == ([(2, "age_unusable")], [3, 4])
    assert "18 to 100" in found.left_out[0].reason


def test_niftis_without_any_age_are_refused_before_they_are_read(tmp_path):
    with pytest.raises(CommandError, match="add a column age"):
        read_list(csv(tmp_path, "path\na.nii\nb.nii.gz\n", "a.nii", "b.nii.gz"))
    assert len(read_list(csv(tmp_path, "path\na.nii\nb.zip\n", "b.zip")).heads) == 2


@pytest.mark.parametrize("twice", ["age", "Age ", "path", "group", "participant_id"])
def test_a_column_that_stands_twice_is_told_for_one_of_the_two_would_be_passed_over(tmp_path, twice):
    text = f"path,age,group,participant_id,note,note,,,{twice}\na.nii,41,MS,P,,,,,control\n"
    with pytest.raises(CommandError, match=f"row 1: the column {twice.strip().lower()} stands twice"):
        read_list(csv(tmp_path, text, "a.nii"))
    (tmp_path / "participants.tsv").write_text(text.replace(",", "\t"))
    with pytest.raises(CommandError, match=f"row 1: the column {twice.strip().lower()} stands twice"):
        read_list(tmp_path)


def test_a_table_whose_quotation_mark_has_no_end_is_one_clear_line(tmp_path):
    place = bids(tmp_path, "participant_id age\nsub-1 30\nsub-2 31")
    (place / "participants.tsv").write_text('participant_id\tage\nsub-1\t"30\n' + "sub-2\t31\n" * 20_000)
    with pytest.raises(CommandError, match=f"{tmp_path.name} cannot be read: field larger than field limit"):
        read_list(place)


def test_semicolons_and_commas_of_another_country_are_told(tmp_path):
    with pytest.raises(CommandError, match="semicolons stand between the columns"):
        read_list(csv(tmp_path, "path;age\na.nii;42,5\n", "a.nii"))
    with pytest.raises(CommandError, match="row 2: has more cells than columns"):
        read_list(csv(tmp_path, "path,age\na.nii,42,5\n", "a.nii"))


def test_no_error_repeats_what_a_cell_says(tmp_path):
    found = read_list(csv(tmp_path, f"path,age\nDoe{'x' * 300}.nii,41\na.nii,Doe\n", "a.nii"))
    assert codes(found) == [(2, "no_image"), (3, "age_unusable")]
    assert "Doe" not in repr(found.left_out)
