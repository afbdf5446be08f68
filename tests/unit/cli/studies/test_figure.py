"""Figures for a paper: what is drawn, what is refused, what is not written over."""

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.figure import Kind, figure, gaps_of_people, read_points, visits_of_people

COLUMNS = (
    "participant_id", "brain_age_years", "brain_age_lower", "brain_age_upper", "chronological_age_years",
    "gap_corrected_years", "reason_codes", "diagnosis",
)  # fmt: skip
ROWS = (
    ("sub-1", "40", "30", "50", "38", "2", "n/a", "MS"),
    ("sub-1", "43", "33", "53", "41", "4", "n/a", "MS"),
    ("sub-2", "60", "50", "70", "61", "-1", "unusual_measure", "HC"),
    ("sub-3", "55", "45", "65", "55", "0", "training_scan; far_from_training", "HC"),
    ("sub-4", "n/a", "n/a", "n/a", "50", "n/a", "n/a", "HC"),
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "group.tsv"
    path.write_text("\n".join("\t".join(row) for row in (COLUMNS, *ROWS)) + "\n")
    return path


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
@pytest.mark.parametrize("kind", [Kind.AGES, Kind.GAPS, Kind.VISITS])
def test_each_figure_is_written_in_each_form(table, tmp_path, kind, ending, begins, capsys):
    out = tmp_path / f"figure.{ending}"
    figure(table, out, kind=kind, by="diagnosis", title="Gaps", width_mm=90.0)
    assert out.read_bytes().startswith(begins)
    assert "3 scans; left out: 1 scan that the model learned from" in capsys.readouterr().out


def test_an_svg_names_axes_with_units_and_how_many(table, tmp_path):
    figure(table, tmp_path / "a.svg", by="diagnosis", width_mm=90.0)
    said = (tmp_path / "a.svg").read_text()
    assert "estimated brain age (years)" in said
    assert "MS (n = 2)" in said


def test_scans_that_the_model_learned_from_are_drawn_on_request_alone(table):
    assert [len(read_points(table, None, with_training_scans=wanted)[0]) for wanted in (False, True)] == [3, 4]


def test_what_was_left_out_is_said_where_nothing_is_left_to_draw(table, tmp_path):
    rows = [row if "training_scan" in row[6] else (*row[:4], "n/a", "n/a", *row[6:]) for row in ROWS]
    table.write_text("\n".join("\t".join(row) for row in (COLUMNS, *rows)) + "\n")
    for kind in (Kind.AGES, Kind.GAPS):
        with pytest.raises(CommandError, match=r"left out: 1 scan that the model learned from \(--with-training-scans"):
            figure(table, tmp_path / "a.svg", kind=kind)
    figure(table, tmp_path / "a.svg", with_training_scans=True)


def test_who_was_scanned_twice_is_one_point_of_the_gaps(table):
    points, _ = read_points(table, "diagnosis", with_training_scans=False)
    assert gaps_of_people(points) == {"HC": [-1.0], "MS": [3.0]}


def test_visits_without_ages_of_their_own_are_refused(table):
    table.write_text(table.read_text().replace("\t41\t", "\tn/a\t"))
    with pytest.raises(CommandError, match="1 visit has no age of its own"):
        visits_of_people(read_points(table, None, with_training_scans=False)[0])


def test_one_age_for_every_visit_is_refused(table):
    table.write_text(table.read_text().replace("\t41\t", "\t38\t"))
    with pytest.raises(CommandError, match="state each visit's own"):
        visits_of_people(read_points(table, None, with_training_scans=False)[0])


def test_nothing_is_written_over_and_other_endings_are_named(table, tmp_path):
    (tmp_path / "there.png").write_text("a week's work")
    for name, said in (("there.png", "is not replaced"), ("a.jpg", "ends in none of .png, .pdf, .svg")):
        with pytest.raises(CommandError, match=said):
            figure(table, tmp_path / name)
    with pytest.raises(CommandError, match="has no column lesions"):
        figure(table, tmp_path / "b.png", by="lesions")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("sub-9\t5", r"line 7: 2 cells for 8 columns: it was cut off or edited"),
        ("sub-9\t40,5\t30\t50\t38\t2\tn/a\tMS", "line 7: brain_age_years is '40,5', which is no number"),
        ("sub-9\t40\t30\t50\t38\tinf\tn/a\tMS", "line 7: gap_corrected_years is 'inf', which is no number"),
        ("sub-9\t40\t30\t50\tninety\t2\tn/a\tMS", "line 7: chronological_age_years is 'ninety', which is no number"),
        ("sub-9\t40\t30\t50\t38\t2\tn/a\tMS\tmore", "line 7: 9 cells for 8 columns"),
    ],
)
def test_a_row_that_was_cut_off_or_edited_is_refused_and_never_drawn(table, row, said):
    table.write_text(f"{table.read_text()}{row}")
    with pytest.raises(CommandError, match=said):
        read_points(table, None, with_training_scans=False)


def test_a_decimal_comma_in_a_table_of_commas_is_refused_and_moves_no_cell(tmp_path):
    (tmp_path / "a.csv").write_text("input,brain_age_years,brain_age_lower,brain_age_upper\na,40,5,30,50\n")
    with pytest.raises(CommandError, match="line 2: 5 cells for 4 columns"):
        read_points(tmp_path / "a.csv", None, with_training_scans=False)


def test_a_quotation_mark_in_a_cell_of_the_group_swallows_no_rows(table):
    table.write_text(table.read_text().replace("\tMS\n", '\t"MS\n', 1))
    points, learned = read_points(table, "diagnosis", with_training_scans=False)
    assert ([one.level for one in points], learned) == (['"MS', "MS", "HC"], 1)


def test_a_quotation_mark_that_is_left_open_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text('input,brain_age_years\n"a,40\nb,41\n')
    with pytest.raises(CommandError, match="cannot be read as a table"):
        read_points(tmp_path / "a.csv", None, with_training_scans=False)


def test_one_column_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("input,brain_age_years,brain_age_years\na,40,99\n")
    with pytest.raises(CommandError, match="has several columns brain_age_years"):
        read_points(tmp_path / "a.csv", None, with_training_scans=False)


@pytest.mark.parametrize("word", ["", "n/a", "NA", "NaN", " "])
def test_what_other_programs_write_for_nothing_is_no_number(table, word):
    table.write_text(table.read_text().replace("\t61\t-1\t", f"\t{word}\t{word}\t"))
    points, _ = read_points(table, None, with_training_scans=False)
    assert (points[2].age, points[2].gap) == (None, None)


def test_a_path_of_two_lines_is_one_row(tmp_path):
    (tmp_path / "a.csv").write_text('input,brain_age_years,reasons\n"a\nb",40,\nc,41,\n')
    assert len(read_points(tmp_path / "a.csv", None, with_training_scans=False)[0]) == 2
    (tmp_path / "b.csv").write_text('input,brain_age_years,reasons\na,40,"Why.\nc,41,"\n')
    with pytest.raises(CommandError, match="goes on over the end of a line"):
        read_points(tmp_path / "b.csv", None, with_training_scans=False)
