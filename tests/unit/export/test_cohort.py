from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from med3d_export.subjects.cohort import CohortError
from med3d_export.subjects.manifest_files import read_cohort

HEADER = "participant_id,age,sex,site,t1w"


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        (folder / name).touch()
    manifest = folder / "participants.csv"
    manifest.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return manifest


def problems(manifest: Path, least_subjects: int = 1) -> list[str]:
    with pytest.raises(CohortError) as caught:
        read_cohort(manifest, least_subjects)
    return caught.value.problems


def test_a_good_manifest_is_read_in_its_order(tmp_path):
    cohort = read_cohort(written(tmp_path, "s1,30.5,F,X,a.nii.gz", "s2,40,M,X,b.nii.gz"), least_subjects=2)
    assert [subject.participant_id for subject in cohort.subjects] == ["s1", "s2"]
    assert cohort.ages_years.tolist() == [30.5, 40.0]
    assert cohort.subjects[0].t1w == tmp_path / "a.nii.gz"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("s2,old,M,X,b.nii.gz", "row 3: age 'old'"),
        ("s2,nan,M,X,b.nii.gz", "row 3: age 'nan'"),
        ("s2,121,M,X,b.nii.gz", "row 3: age '121'"),
        ("s2,40,male,X,b.nii.gz", "row 3: sex 'male'"),
        ("s2,40,M,X,missing.nii.gz", "row 3: t1w 'missing.nii.gz'"),
        ("s2,40,M,,b.nii.gz", "row 3: site is empty"),
        (",40,M,X,b.nii.gz", "row 3: participant_id is empty"),
        ("s2,40,M", "row 3: site is empty"),
    ],
)
def test_a_bad_row_is_named_with_what_is_wrong(tmp_path, row, expected):
    found = problems(written(tmp_path, "s1,30,F,X,a.nii.gz", row))
    assert found[0].startswith(expected)


def test_every_bad_row_is_named_not_only_the_first(tmp_path):
    found = problems(written(tmp_path, "s1,x,F,X,a.nii.gz", "s2,40,?,X,b.nii.gz"))
    assert [text.split(":")[0] for text in found] == ["row 2", "row 3"]


def test_a_repeated_subject_or_file_names_both_rows(tmp_path):
    found = problems(written(tmp_path, "s1,30,F,X,a.nii.gz", "s1,40,F,X,b.nii.gz"))
    assert found == ["row 2: participant_id occurs 2 times", "row 3: participant_id occurs 2 times"]


def test_a_missing_column_is_named(tmp_path):
    found = problems(written(tmp_path, "s1,30,F,X", header="participant_id,age,sex,site"))
    assert found == ["row 1: the column t1w is missing"]


def test_too_few_subjects_and_constant_ages_are_refused(tmp_path):
    manifest = written(tmp_path, "s1,30,F,X,a.nii.gz", "s2,30,M,X,b.nii.gz")
    assert problems(manifest, least_subjects=3) == ["2 subjects are too few: at least 3 are needed"]
    assert "same age" in problems(manifest)[0]


FULL_HEADER = "participant_id,age,sex,site,t1w,scanner,sdmt,visit"


def test_optional_columns_are_read_and_may_be_empty(tmp_path):
    rows = ("s1,30,F,X,a.nii.gz,Trio,55,v1", "s1,32,F,X,b.nii.gz,Trio,,v2", "s2,40,M,X,c.nii.gz,,0,")
    cohort = read_cohort(written(tmp_path, *rows, header=FULL_HEADER), least_subjects=2)
    assert cohort.visits.tolist() == ["v1", "v2", ""]
    assert cohort.scanners.tolist() == ["Trio", "Trio", ""]
    np.testing.assert_array_equal(cohort.sdmt, [55.0, np.nan, 0.0])


def test_a_site_is_not_needed_but_where_the_column_is_it_must_be_filled(tmp_path):
    cohort = read_cohort(
        written(tmp_path, "s1,30,F,a.nii.gz", "s2,40,M,b.nii.gz", header="participant_id,age,sex,t1w"), 2
    )
    assert set(cohort.sites) == {"one site"}
    assert problems(written(tmp_path, "s1,30,F,,a.nii.gz"))[0] == "row 2: site is empty"


@pytest.mark.parametrize("sdmt", ["111", "-1", "many", "inf"])
def test_a_score_that_nobody_can_reach_is_named(tmp_path, sdmt):
    found = problems(written(tmp_path, f"s1,30,F,X,a.nii.gz,Trio,{sdmt},", header=FULL_HEADER))
    assert found == [f"row 2: sdmt '{sdmt}' is not a number of points from 0 to 110"]


def test_a_subject_cannot_change_sex_or_repeat_a_visit(tmp_path):
    rows = ("s1,30,F,X,a.nii.gz,,,v1", "s1,31,M,X,b.nii.gz,,,v1")
    assert problems(written(tmp_path, *rows, header=FULL_HEADER)) == [
        "row 2: participant_id occurs 2 times with the visit 'v1'",
        "row 3: participant_id occurs 2 times with the visit 'v1'",
        "row 3: s1 is M here and F in row 2",
    ]


def test_parquet_gives_the_cohort_that_csv_gives(tmp_path):
    manifest = written(tmp_path, "s1,30.5,F,X,a.nii.gz,Trio,,v1", "s2,40,M,X,b.nii.gz,,60,", header=FULL_HEADER)
    table = pa.table(
        {
            "participant_id": ["s1", "s2"], "age": [30.5, 40.0], "sex": ["F", "M"], "site": ["X", "X"],
            "t1w": ["a.nii.gz", "b.nii.gz"], "scanner": ["Trio", None], "sdmt": [None, 60], "visit": ["v1", None],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "participants.parquet")
    assert str(read_cohort(tmp_path / "participants.parquet", 2)) == str(read_cohort(manifest, 2))


def test_a_wrong_row_of_a_parquet_file_is_named_and_so_is_a_file_that_is_none(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    table = pa.table({"participant_id": ["s1"], "age": [130.0], "sex": ["F"], "t1w": ["a.nii.gz"]})
    pq.write_table(table, tmp_path / "p.parquet")
    assert problems(tmp_path / "p.parquet") == ["row 2: age '130.0' is not a number of years from 0 to 120"]
    (tmp_path / "q.parquet").write_bytes(b"participant_id,age")
    assert problems(tmp_path / "q.parquet")[0].startswith("q.parquet cannot be read as Parquet")


def bids(folder: Path, participants: str, *images: str) -> Path:
    for image in images:
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "participants.tsv").write_text(participants, encoding="utf-8")
    return folder


def test_a_bids_dataset_is_read_with_its_sessions_and_spellings(tmp_path):
    dataset = bids(
        tmp_path,
        "participant_id\tage\tsex\tsite\nsub-01\t34\tfemale\tA\nsub-02\t50\tM\tB\n",
        "sub-01/ses-1/anat/sub-01_ses-1_run-2_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_run-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii",
    )
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tage\nses-1\t34.5\nses-2\t36.5\n", encoding="utf-8"
    )
    cohort = read_cohort(dataset, 2)
    assert [s.t1w.name for s in cohort.subjects] == [
        "sub-01_ses-1_run-1_T1w.nii.gz", "sub-01_ses-2_T1w.nii.gz", "sub-02_T1w.nii",
    ]  # fmt: skip
    assert cohort.ages_years.tolist() == [34.5, 36.5, 50.0]
    assert "".join(cohort.sexes) == "FFM"
    assert cohort.visits.tolist() == ["ses-1", "ses-2", ""]
    assert cohort.sites.tolist() == ["A", "A", "B"]


def test_participants_of_a_bids_dataset_without_an_image_or_an_age_are_named(tmp_path):
    dataset = bids(
        tmp_path, "participant_id\tage\tsex\nsub-01\tn/a\tF\nsub-02\t50\tM\n", "sub-01/anat/sub-01_T1w.nii.gz"
    )
    assert problems(dataset) == ["row 3: sub-02 has no anat/*_T1w.nii.gz"]
    bids(tmp_path, (tmp_path / "participants.tsv").read_text(), "sub-02/anat/sub-02_T1w.nii.gz")
    assert problems(dataset) == ["row 2: age is empty"]


def test_a_folder_without_a_manifest_says_what_it_should_hold(tmp_path):
    assert "participants.csv" in problems(tmp_path)[0]


def test_a_manifest_that_is_no_csv_is_a_fault_of_its_row(tmp_path):
    manifest = tmp_path / "participants.csv"
    manifest.write_text("participant_id,age,sex,t1w\na,40,F,a.nii\nb,41,M," + "x" * 200_000 + "\n", encoding="utf-8")
    with pytest.raises(CohortError, match=r"row 3: participants\.csv cannot be read as CSV"):
        read_cohort(manifest)
