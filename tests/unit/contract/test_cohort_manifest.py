import pytest

from med3d_contract.cohort_manifest import read_manifest, read_valid_scans
from med3d_contract.manifest_row import ManifestError

HEADER = "participant_id,age,sex,site,t1w,sdmt,visit,split"


def written(folder, *rows, header=HEADER):
    for name in "abc":
        (folder / f"{name}.nii.gz").touch()
    manifest = folder / "participants.csv"
    manifest.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return manifest


def problems(path):
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return caught.value.problems


def test_a_manifest_needs_no_more_than_who_and_which_file(tmp_path):
    (scan,) = read_manifest(written(tmp_path, "s1,a.nii.gz", header="participant_id,t1w"))
    assert (scan.participant_id, scan.t1w) == ("s1", tmp_path / "a.nii.gz")
    assert (scan.age_years, scan.sex, scan.site, scan.sdmt, scan.visit) == (None, None, None, None, "")


def test_what_is_known_of_a_scan_is_read(tmp_path):
    first, second = read_manifest(written(tmp_path, "s1,40,F,X,a.nii.gz,61,v1,", "s1,41.5,F,X,b.nii.gz,58.5,v2,"))
    assert (first.age_years, first.sex, first.site, first.sdmt, first.visit) == (40, "F", "X", 61, "v1")
    assert second.age_years == 41.5


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("s1,forty,F,X,a.nii.gz",), ["row 2: age 'forty' is not a number of years from 0 to 120"]),
        (("s1,40,F,X,gone.nii.gz",), ["row 2: t1w 'gone.nii.gz' is no file beside the manifest"]),
        (("s1,40,F,X,a.nii.gz,111",), ["row 2: sdmt '111' is not a number of points from 0 to 110"]),
        (
            ("s1,40,F,X,a.nii.gz", "s1,41,F,X,b.nii.gz"),
            ["row 2: participant_id occurs 2 times", "row 3: participant_id occurs 2 times"],
        ),
        (
            ("s1,40,F,X,a.nii.gz", "s2,40,F,X,a.nii.gz"),
            ["row 2: t1w occurs 2 times", "row 3: t1w occurs 2 times"],
        ),
        (
            ("s1,40,F,St. Mary,a.nii.gz", "s2,40,F,st mary,b.nii.gz"),
            ["row 3: site 'st mary' is spelled 'St. Mary' in row 2"],
        ),
        (
            ("s1,40,F,X,a.nii.gz,,v1,train", "s1,41,F,X,b.nii.gz,,v2,test"),
            ["row 3: s1 is in split 'test' here and in 'train' in row 2"],
        ),
        (("s1,40,F,X,a.nii.gz,,v1", "s1,41,M,X,b.nii.gz,,v2"), ["row 3: s1 is M here and F in row 2"]),
    ],
)
def test_every_fault_is_named_with_its_row(tmp_path, rows, expected):
    assert problems(written(tmp_path, *rows)) == expected


def test_all_faulty_rows_are_named_at_once(tmp_path):
    found = problems(written(tmp_path, "s1,x,F,X,a.nii.gz", "s2,40,?,X,b.nii.gz", "s3,40,F,X,gone.nii.gz"))
    assert [line.split(":")[0] for line in found] == ["row 2", "row 3", "row 4"]


def test_a_column_that_is_missing_is_named(tmp_path):
    assert problems(written(tmp_path, "s1", header="participant_id")) == ["row 1: the column t1w is missing"]


def test_what_is_no_manifest_says_so(tmp_path):
    assert problems(tmp_path) == ["the folder holds neither participants.csv nor participants.tsv"]
    assert problems(tmp_path / "x.csv") == ["x.csv does not exist"]
    assert problems(written(tmp_path)) == ["participants.csv holds no rows"]
    (tmp_path / "latin.csv").write_bytes(b"participant_id,t1w\nM\xfcller,a.nii.gz\n")
    assert "not UTF-8" in problems(tmp_path / "latin.csv")[0]


def test_a_bids_dataset_is_read_with_its_sessions(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tsex\tage\tSDMT\nsub-1\tfemale\t40\t55\nsub-2\tn/a\tn/a\t\n"
    )
    for place in ("sub-1/ses-a", "sub-1/ses-b", "sub-2"):
        (tmp_path / place / "anat").mkdir(parents=True)
        (tmp_path / place / "anat" / "x_T1w.nii.gz").touch()
    (tmp_path / "sub-1" / "sub-1_sessions.tsv").write_text("session_id\tage\nses-a\t40\nses-b\t42\n")
    scans = read_manifest(tmp_path)
    assert [(s.participant_id, s.visit, s.age_years, s.sex, s.sdmt) for s in scans] == [
        ("sub-1", "ses-a", 40, "F", 55),
        ("sub-1", "ses-b", 42, "F", 55),
        ("sub-2", "", None, None, None),
    ]


def make_visits(folder, table):
    (folder / "participants.tsv").write_text(table)
    for place in ("sub-1/ses-a", "sub-1/ses-b"):
        (folder / place / "anat").mkdir(parents=True)
        (folder / place / "anat" / "x_T1w.nii.gz").touch()


def test_one_age_of_a_participant_is_nobody_s_at_several_visits(tmp_path):
    make_visits(tmp_path, "participant_id\tage\nsub-1\t40\n")
    assert [(scan.visit, scan.age_years) for scan in read_manifest(tmp_path)] == [("ses-a", None), ("ses-b", None)]


def test_a_row_that_names_a_session_is_of_that_session_alone(tmp_path):
    make_visits(tmp_path, "participant_id\tsession_id\tage\nsub-1\ta\t40\nsub-1\tses-b\t43\n")
    assert [(scan.visit, scan.age_years) for scan in read_manifest(tmp_path)] == [("ses-a", 40), ("ses-b", 43)]
    (tmp_path / "participants.tsv").write_text("participant_id\tsession_id\tage\nsub-1\tc\t40\n")
    assert problems(tmp_path) == ["row 2: sub-1 has no session ses-c with anat/*_T1w.nii.gz"]


def test_what_is_good_is_taken_and_every_other_row_is_named(tmp_path):
    rows = ("s1,40,F,X,a.nii.gz,61,v1,", "s2,old,F,X,b.nii.gz,58.5,v1,", "s1,41,M,X,c.nii.gz,,v2,")
    found = read_valid_scans(written(tmp_path, *rows))
    assert [scan.participant_id for scan in found.scans] == ["s1"]
    assert [problem.partition(":")[0] for problem in found.problems] == ["row 3", "row 4"]


def test_of_a_bids_dataset_participants_without_an_image_are_named_and_the_others_taken(tmp_path):
    make_visits(tmp_path, "participant_id\tage\nsub-1\t40\nsub-2\t41\n")
    found = read_valid_scans(tmp_path)
    assert [scan.visit for scan in found.scans] == ["ses-a", "ses-b"]
    assert found.problems == ("row 3: sub-2 has no anat/*_T1w.nii.gz",)
