"""Archives for `med3d analyse`: opened where the service opens them, refused where it refuses them."""

import stat
from pathlib import Path

import nibabel as nib
import pytest

from med3d_contract.sent_files.archives import ARCHIVE_FAULTS, ArchiveRefused
from med3d_contract.sent_files.unpacking import InputNotReadable, unpacked
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.series import head_like, ras_affine, write_series
from rig.dicom.uploads import gzipped, tar_entry, tar_of, zip_of
from rig.faults.closed_files import closed, open_folder

SHAPE = (8, 9, 6)
AFFINE = ras_affine((2.5, 2.5, 2.5), (-50, -55, -50))
PACKINGS = {
    "study.zip": zip_of,
    "study.tar": tar_of,
    "study.tar.gz": lambda files: gzipped(tar_of(files)),
    "without_extension": zip_of,
}


def slices(folder: Path) -> dict[str, bytes]:
    paths = write_series(folder, head_like(SHAPE), ras_affine())
    return {f"DICOM/{path.name}": path.read_bytes() for path in paths}


def digest_of(paths: list[Path]) -> str:
    study = read_study(paths)
    (series,) = study.series
    return load_series(study, series.label).input_digest


def refusal_of(path: Path) -> ArchiveRefused:
    with pytest.raises(ArchiveRefused) as refused, unpacked(path):
        pass
    return refused.value


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "in a folder"])
def test_an_archive_is_the_study_that_it_holds_and_leaves_nothing_behind(tmp_path, name, as_folder):
    files = slices(tmp_path / "plain")
    archive = tmp_path / "sent" / name
    archive.parent.mkdir()
    archive.write_bytes(PACKINGS[name](files))
    with unpacked(archive.parent if as_folder else archive) as paths:
        folder = paths[-1]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert digest_of(paths) == digest_of([tmp_path / "plain"])
    assert not folder.exists()


def test_an_input_that_is_gone_by_then_cannot_be_read(tmp_path):
    with pytest.raises(InputNotReadable, match="No such file"), unpacked(tmp_path / "gone.nii.gz"):
        pass


def test_what_is_no_archive_is_read_where_it_lies(tmp_path):
    slices(tmp_path)
    with unpacked(tmp_path) as paths:
        assert paths == [tmp_path]


def test_loose_files_beside_an_archive_count_too(tmp_path):
    files = list(slices(tmp_path / "a").items())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "rest.zip").write_bytes(zip_of(dict(files[3:])))
    (tmp_path / "b" / "IM1").write_bytes(files[0][1])
    (tmp_path / "b" / "IM2").write_bytes(files[1][1])
    (tmp_path / "b" / "IM3").write_bytes(files[2][1])
    with unpacked(tmp_path / "b") as paths:
        assert digest_of(paths) == digest_of([tmp_path / "a"])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (zip_of({"../a.dcm": b"x"}), "archive_unsafe_path"),
        (zip_of({"/etc/a.dcm": b"x"}), "archive_unsafe_path"),
        (tar_of({"../../a": b"x"}), "archive_unsafe_path"),
        (tar_of({"link": tar_entry("link", b"2", "/etc/passwd")}), "archive_unsafe_member"),
        (tar_of({"pipe": tar_entry("pipe", b"6")}), "archive_unsafe_member"),
        (zip_of({"inner.zip": zip_of({"a": b"x"})}), "archive_nested"),
        (zip_of({"a.txt": bytes(80 * 1024**2)}), "archive_bomb"),
        (zip_of({"a": b"x" * 500})[:-30], "archive_truncated"),
        (zip_of({}), "archive_empty"),
        (tar_of({str(number): tar_entry("pax", b"g") for number in range(2000)}), "archive_truncated"),
    ],
    ids=[
        "path upwards", "absolute path", "path upwards in tar", "link", "pipe", "nested", "bomb", "cut short", "empty",
        "headers of headers",
    ],  # a zip holds the time: ids of its bytes would differ between the processes that share the tests
)  # fmt: skip
def test_what_the_service_refuses_is_refused_and_leaves_nothing_behind(tmp_path, content, code, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "here"))
    (tmp_path / "study").write_bytes(content)
    refused = refusal_of(tmp_path / "study")
    assert (refused.code, refused.remedy) == (code, ARCHIVE_FAULTS[code][1])
    assert list((tmp_path / "here").iterdir()) == []


def test_names_are_kept_and_nothing_that_is_a_path_but_subject_and_session(tmp_path):
    held = {"sub-9/ses-2/anat/sub-9_T1w.nii.gz": b"x", "a b/M\u00fcller;.dcm": b"y", "c/.;.": b"z"}
    (tmp_path / "s.zip").write_bytes(zip_of(held))
    with unpacked(tmp_path / "s.zip") as (folder,):
        found = sorted(path.relative_to(folder / "0").as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["00001/sub-9/ses-2/sub-9_T1w.nii.gz", "00002/M\u00fcller.dcm", "00003/file"]


def test_a_long_name_keeps_its_end_and_its_subject(tmp_path):
    (tmp_path / "s.zip").write_bytes(zip_of({"sub-7_" + 200 * "\u00fc" + "_T1w.nii": b"x"}))
    with unpacked(tmp_path / "s.zip") as (folder,):
        (found,) = (path for path in folder.rglob("*") if path.is_file())
    assert found.parent.name == "sub-7"
    assert found.name.endswith("\u00fc_T1w.nii")


def code_of(path: Path) -> str:
    with unpacked(path) as paths, pytest.raises(InputRefused) as refused:
        select_series(read_study(paths))
    return refused.value.code


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("sub-01/anat/x_T1w.nii.gz", "sub-02/anat/y.nii.gz"), "several_patients"),
        (("T1w.nii.gz", "FLAIR.nii.gz"), "several_images"),
        (("a/T1w.nii.gz", "b/T1w.nii.gz"), "several_images"),
    ],
)
def test_a_folder_and_its_archive_get_one_answer(tmp_path, names, code):
    for seed, name in enumerate(names):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(head_like((40, 44, 40), seed).astype("int16"), AFFINE).to_filename(path)
    files = {name: (tmp_path / "folder" / name).read_bytes() for name in names}
    (tmp_path / "s.zip").write_bytes(zip_of(files))
    (tmp_path / "s.tar").write_bytes(tar_of(files))
    assert [code_of(tmp_path / sent) for sent in ("folder", "s.zip", "s.tar")] == [code] * 3


def test_two_archives_of_two_subjects_are_two_people(tmp_path):
    for subject in ("01", "02"):
        path = tmp_path / f"{subject}.nii"
        nib.Nifti1Image(head_like((40, 44, 40), int(subject)).astype("int16"), AFFINE).to_filename(path)
        archive = tmp_path / "sent" / f"sub-{subject}" / "scan.zip"
        archive.parent.mkdir(parents=True)
        archive.write_bytes(zip_of({"T1w.nii": path.read_bytes()}))
    assert code_of(tmp_path / "sent") == "several_patients"


@pytest.mark.parametrize("part", ["more", "more/b.nii.gz"])
def test_a_part_that_is_closed_to_us_is_not_passed_over(part):
    with open_folder() as folder:
        (folder / "more").mkdir()
        for name in ("a.nii.gz", "more/b.nii.gz"):
            nib.save(nib.Nifti1Image(head_like(SHAPE).astype("int16"), AFFINE), folder / name)
        with closed(folder / part):
            with pytest.raises(InputNotReadable, match=r"cannot be read here \(Permission denied\)"), unpacked(folder):
                pass
            with pytest.raises(PermissionError):
                read_study([folder])
        with unpacked(folder) as paths:
            assert paths == [folder]
