import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from med3d_client.study_stream import ChunkReader, UnsendableStudy, open_study, sent_suffix, study_files
from rig.dicom.uploads import zip_of
from rig.faults.closed_files import closed, open_folder


def packed(upload):
    """Members of a streamed tar: name -> bytes, read in awkward pieces as an HTTP client would."""
    data = b""
    while piece := upload.content.read(777):
        data += piece
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(contents=st.lists(st.binary(max_size=2000).map(b"no archive, ".__add__), min_size=1, max_size=5))
def test_a_folder_is_streamed_as_a_tar_with_every_byte(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("study")
    for number, content in enumerate(contents):
        (folder / f"{number}").write_bytes(content)
    with open_study(folder) as upload:
        assert list(packed(upload).values()) == contents


def test_sub_folders_belong_to_the_same_study_and_names_stay_at_home(tmp_path):
    (tmp_path / "Doe^John" / "T1").mkdir(parents=True)
    (tmp_path / "Doe^John" / "T1" / "slice1").write_bytes(b"1")
    (tmp_path / "Doe^John" / "head.nii.gz").write_bytes(b"2")
    (tmp_path / ".DS_Store").write_bytes(b"no")
    with open_study(tmp_path) as upload:
        assert packed(upload) == {"000000.dcm": b"1", "000001.nii.gz": b"2"}


def test_of_several_volumes_goes_what_their_names_tell_of_the_contrast_and_no_more(tmp_path):
    for name in ("Doe_FLAIR.nii", "sub-Doe_T1w.mgz", "sub-Doe_T1w.json", "IM0001"):
        (tmp_path / name).write_bytes(b"x")
    with open_study(tmp_path) as upload:
        names = ["000000.x_flair.nii", "000001.dcm", "000002.dcm", "000003_sub-1.x_t1w.mgz"]
        assert list(packed(upload)) == names


def test_a_dicomdir_stands_for_its_folder(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(b"1")
    (tmp_path / "IM0001").write_bytes(b"2")
    with open_study(tmp_path / "DICOMDIR") as upload:
        assert packed(upload) == {"000000.dcm": b"1", "000001.dcm": b"2"}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c0", "unsupported_format"),
        ("a.nii.gz", b"\x1f\x8b damaged", "nifti_unreadable"),
        (".hidden", b"1", "empty_upload"),
    ],
)
def test_a_folder_of_which_nothing_can_be_sent_is_told_as_analyse_tells_it(tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnsendableStudy) as told, open_study(tmp_path):
        pass
    assert told.value.code == code


def test_a_packed_file_beside_a_study_is_left_out(tmp_path):
    for name, content in (("a.7z", b"7z\xbc\xaf\x27\x1c0"), ("IM0001", b"2")):
        (tmp_path / name).write_bytes(content)
    with open_study(tmp_path) as upload:
        assert packed(upload) == {"000000.dcm": b"2"}


def test_an_archive_in_a_folder_is_opened_before_it_is_sent(tmp_path):
    (tmp_path / "study.zip").write_bytes(zip_of({"sub-Doe/x_T1w.nii": b"1", "x_FLAIR.nii": b"2"}))
    (tmp_path / "IM0001").write_bytes(b"3")
    with open_study(tmp_path) as upload:
        assert packed(upload) == {"000000.dcm": b"3", "000001_sub-1.x_t1w.nii": b"1", "000002.x_flair.nii": b"2"}


def test_an_archive_in_a_folder_that_cannot_be_opened_is_told_as_the_service_would(tmp_path):
    (tmp_path / "study.zip").write_bytes(zip_of({"a.zip": zip_of({"b": b"1"})}))
    with pytest.raises(UnsendableStudy, match="holds another archive") as told, open_study(tmp_path):
        pass
    assert told.value.code == "archive_nested"


def test_a_linked_file_is_sent_and_a_linked_folder_is_not(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "slice").write_bytes(b"1")
    study = tmp_path / "study"
    study.mkdir()
    (study / "link").symlink_to(tmp_path / "elsewhere" / "slice")
    (study / "linked-folder").symlink_to(tmp_path / "elsewhere")
    assert [file.name for file in study_files(study)] == ["link"]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.NII.GZ", ".nii.gz"),
        ("a.nii", ".nii"),
        ("b.zip", ".zip"),
        ("b.tar.gz", ".tar.gz"),
        ("IM0001", ".dcm"),
        ("t1+orig.BRIK.gz", ".brik.gz"),
    ],
)
def test_the_suffix_says_what_is_sent(tmp_path, name, suffix):
    assert sent_suffix(tmp_path / name) == suffix


def test_a_single_file_is_sent_as_it_is(tmp_path):
    file = tmp_path / "head.nii.gz"
    file.write_bytes(b"nifti")
    with open_study(file) as upload:
        assert upload.name == "study.nii.gz"
        assert upload.content.read() == b"nifti"


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.touch(), lambda path: None])
def test_nothing_to_send_is_said_before_anything_is_sent(tmp_path, make):
    make(tmp_path / "study")
    with (
        pytest.raises(UnsendableStudy, match=r"holds no files|is empty|does not exist"),
        open_study(tmp_path / "study"),
    ):
        pass


def test_a_file_that_grows_while_it_is_sent_stops_the_upload(tmp_path):
    (tmp_path / "slice").write_bytes(b"x" * 10)
    with open_study(tmp_path) as upload:
        upload.content.read(1)
        (tmp_path / "slice").write_bytes(b"x" * 11)
        with pytest.raises(UnsendableStudy, match="changed while it was being sent"):
            upload.content.read()


@given(chunks=st.lists(st.binary(max_size=20)), size=st.integers(1, 7))
def test_reading_in_any_size_gives_the_same_bytes(chunks, size):
    reader = ChunkReader(iter(chunks))
    data = b""
    while piece := reader.read(size):
        assert len(piece) <= size
        data += piece
    assert data == b"".join(chunks)


@pytest.mark.parametrize("sent", ["", "a.dcm", "more"])
def test_what_is_closed_to_us_is_told_and_no_part_of_it_is_sent(sent):
    with open_folder() as folder:
        (folder / "more").mkdir()
        (folder / "a.dcm").write_bytes(b"some")
        (folder / "b.dcm").write_bytes(b"some")
        with (
            closed(folder / (sent or "more")),
            pytest.raises(UnsendableStudy, match=r"cannot be read here \(Permission denied\)") as told,
            open_study(folder / sent),
        ):
            pass
    assert told.value.code == "input_not_readable"
