from pathlib import Path

import pytest

from med3d_export.cohort import CohortError, read_cohort

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
    found = problems(written(tmp_path, "s1,30,F,X,a.nii.gz", "s1,40,M,X,b.nii.gz"))
    assert found == ["row 2: participant_id occurs 2 times", "row 3: participant_id occurs 2 times"]


def test_a_missing_column_is_named(tmp_path):
    found = problems(written(tmp_path, "s1,30,F,X", header="participant_id,age,sex,site"))
    assert found == ["row 1: the column t1w is missing"]


def test_too_few_subjects_and_constant_ages_are_refused(tmp_path):
    manifest = written(tmp_path, "s1,30,F,X,a.nii.gz", "s2,30,M,X,b.nii.gz")
    assert problems(manifest, least_subjects=3) == ["2 subjects are too few: at least 3 are needed"]
    assert "same age" in problems(manifest)[0]
