"""The form of POST /studies: what is taken, what is refused by which code, and that nothing is left behind."""

import io
import random
import struct
import tarfile
import zipfile

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from med3d_contract.sent_files.content import HEAD_BYTES, Content
from med3d_service.problems import ServiceError
from med3d_service.storage.sealed import SealedReader
from med3d_service.studies.original_names import original_name
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.uploads.receiving import JudgedFile
from rig.dicom.uploads import (
    CONTENT_TYPE,
    dicom_files,
    files_form,
    gzipped,
    multipart,
    named,
    nifti_file,
    tar_entry,
    tar_of,
    zip_of,
)

KEY = b"k" * 32
MIB = 1024**2
SMALL = Limits(upload_bytes=64 * MIB, unpacked_bytes=256 * MIB, unpack_ratio=50.0, files=1000)


def receive(spool_dir, body, limits=SMALL, piece_bytes=1 << 20):
    """Run a body through a form; the fields and the study."""
    form = StudyForm(CONTENT_TYPE, spool_dir, KEY, "default", Meter(limits))
    try:
        for start in range(0, len(body), piece_bytes):
            form.write(body[start : start + piece_bytes])
        return form.finish()
    except BaseException:
        form.discard()
        raise


def refusal(spool_dir, body, limits=SMALL):
    with pytest.raises(ServiceError) as caught:
        receive(spool_dir, body, limits)
    assert list(spool_dir.iterdir()) == [], "a refused upload leaves nothing behind"
    return caught.value.code


def study_of(spool_dir, *files, **fields):
    return receive(spool_dir, files_form(*files, **fields))[1]


def stored(study):
    """The originals, as they can be read back."""
    with SealedReader(study.container, KEY, original_name(study.upload_id, "default"), None) as container:
        plaintext = io.BufferedReader(container).read()
    return [plaintext[one.offset_bytes : one.offset_bytes + one.size_bytes] for one in study.instances]


# --- what is taken ---


@pytest.mark.parametrize(
    "pack",
    [
        lambda files: [("study.zip", zip_of(named(files)))],
        lambda files: [("study.tar", tar_of(named(files)))],
        lambda files: [("study.tar.gz", gzipped(tar_of(named(files))))],
        lambda files: [(f"{index}.dcm", data) for index, data in enumerate(files)],
        lambda files: [("study.zip", zip_of({f"other/{9 - i}.ima": data for i, data in enumerate(files)}))],
        lambda files: [("a", files[0]), ("b.tar", tar_of(named(files[1:]))), ("c", files[0])],
    ],
    ids=["zip", "tar", "tar.gz", "parts", "renamed", "mixed packing with a repetition"],
)
def test_the_same_study_is_the_same_however_it_is_packed(tmp_path, pack):
    files = dicom_files()
    study = study_of(tmp_path, *pack(files))
    assert study.digest == study_of(tmp_path, *[(f"{i}", data) for i, data in enumerate(files)]).digest
    assert sorted(stored(study)) == sorted(files)


def test_preamble_and_group_2_are_not_part_of_the_identity(tmp_path):
    (file,) = dicom_files(1)
    (group_length,) = struct.unpack_from("<I", file, 140)
    bare = file[144 + group_length :]
    other_preamble = b"TIFF" + bytes(124) + file[128:]
    digests = {study_of(tmp_path, ("x", data)).digest for data in (file, bare, other_preamble)}
    assert len(digests) == 1


def test_one_other_byte_of_the_data_set_makes_another_study(tmp_path):
    (file,) = dicom_files(1)
    assert study_of(tmp_path, ("x", file)).digest != study_of(tmp_path, ("x", file[:-1] + b"\xff")).digest


def test_nifti_is_the_same_plain_and_compressed(tmp_path):
    plain = nifti_file()
    studies = [study_of(tmp_path, ("v", data)) for data in (plain, gzipped(plain))]
    assert studies[0].digest == studies[1].digest
    assert stored(studies[1]) == [gzipped(plain)]


def test_files_that_are_no_images_are_counted_and_not_kept(tmp_path):
    files = named(dicom_files(2)) | {"README.txt": b"hello", "study/.DS_Store": b"\0" * 50}
    study = study_of(tmp_path, ("s.zip", zip_of(files)))
    assert (study.files, study.skipped_files, len(study.instances)) == (4, 2, 2)
    with SealedReader(study.container, KEY, original_name(study.upload_id, "default"), None) as container:
        assert b"hello" not in io.BufferedReader(container).read()


def test_an_archive_without_images_is_a_study_without_instances(tmp_path):
    study = study_of(tmp_path, ("s.zip", zip_of({"a.txt": b"a", "b.txt": b"b"})))
    assert (study.instances, study.skipped_files) == ((), 2)


def test_nothing_of_the_originals_lies_readable_on_the_disk(tmp_path):
    secret = "DOE^JANE-SECRET"
    files = dicom_files(2, PatientName=secret)
    form = StudyForm(CONTENT_TYPE, tmp_path, KEY, "default", Meter(SMALL))
    form.write(files_form(("jane.zip", zip_of(named(files))))[:-40])
    on_disk = b"".join(path.read_bytes() + path.name.encode() for path in tmp_path.iterdir())
    assert on_disk
    assert b"JANE" not in on_disk
    form.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_fields_are_read_wherever_they_stand(tmp_path):
    file = dicom_files(1)[0]
    first = [("age", None, b"63.5"), ("sex", None, b"F"), ("subject", None, b"S-1"), ("priority", None, b"stat")]
    for parts in ([*first, ("files", "a", file)], [("files", "a", file), *first]):
        fields, _ = receive(tmp_path, multipart(parts))
        assert (fields.age, fields.sex, fields.subject, fields.priority, fields.bundle) == (
            63.5,
            "F",
            "S-1",
            "stat",
            None,
        )


def test_empty_fields_count_as_left_out(tmp_path):
    fields, _ = receive(tmp_path, files_form(("a", dicom_files(1)[0]), age="", sex="", bundle=" "))
    assert (fields.age, fields.sex, fields.bundle) == (None, None, None)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(piece_bytes=st.integers(1, 5000), packing=st.sampled_from(["zip", "tar.gz", "parts"]))
def test_where_the_network_cuts_the_body_makes_no_difference(tmp_path, piece_bytes, packing):
    files = dicom_files(2)
    packed = {
        "zip": [("s.zip", zip_of(named(files)))],
        "tar.gz": [("s.tgz", gzipped(tar_of(named(files))))],
        "parts": [("a", files[0]), ("b", files[1])],
    }[packing]
    body = files_form(*packed, age=50)
    fields, study = receive(tmp_path, body, piece_bytes=piece_bytes)
    assert fields.age == 50
    assert stored(study) == files


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.dictionaries(
        st.text("abcdefgh/.", min_size=1, max_size=12).filter(
            lambda name: not name.startswith("/") and ".." not in name.split("/") and not name.endswith("/")
        ),
        st.binary(max_size=3000),
        min_size=1,
        max_size=8,
    ),
    as_tar=st.booleans(),
)
def test_any_well_formed_archive_is_taken_or_refused_by_a_known_code(tmp_path, members, as_tar):
    body = files_form(("s", tar_of(members) if as_tar else zip_of(members)))
    try:
        _, study = receive(tmp_path, body)
    except ServiceError as error:
        assert error.code == "archive_nested"  # noqa: PT017 - the form may as well be taken
    else:
        assert study.files == len(members)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["zip", "tar", "tar.gz"]))
def test_a_damaged_archive_never_breaks_intake(tmp_path, data, kind):
    files = named(dicom_files(3))
    packed = bytearray({"zip": zip_of, "tar": tar_of, "tar.gz": lambda f: gzipped(tar_of(f))}[kind](files))
    for _ in range(data.draw(st.integers(1, 12))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    try:
        receive(tmp_path, files_form(("s", bytes(packed[:cut]))))
    except ServiceError as error:
        assert error.status in {413, 422}  # noqa: PT017 - damage may also do no harm
        assert list(tmp_path.glob("*.archive")) == []


# --- what is refused ---


def zip_with(change):
    """A zip whose first entry's records are changed byte by byte."""
    packed = bytearray(zip_of(named(dicom_files(1))))
    change(packed)
    return bytes(packed)


def encrypted_zip():
    def change(packed):
        packed[6] |= 1  # general purpose bit 0, in the local header and in the directory
        packed[packed.find(b"PK\x01\x02") + 8] |= 1

    return zip_with(change)


def zip_with_symlink():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.dcm")
        link.create_system = 3
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def zip_named(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, dicom_files(1)[0])
    return buffer.getvalue()


DICOM = dicom_files(1)[0]
PADDED_TAR = tar_of({"a.dcm": DICOM})

REFUSED = {
    "no parts": (multipart([]), "empty_upload"),
    "no files part": (multipart([("age", None, b"50")]), "empty_upload"),
    "an empty file": (files_form(("a.dcm", b"")), "empty_upload"),
    "an empty zip": (files_form(("a.zip", zip_of({}))), "archive_empty"),
    "a text file": (files_form(("notes.txt", b"hello " * 100)), "no_images"),
    "a text file called NIfTI": (files_form(("a.nii.gz", b"hello " * 100)), "nifti_unreadable"),
    "an NRRD": (files_form(("a", b"NRRD0004" + bytes(100))), "unsupported_format"),
    "a MINC by its name, beside a letter": (files_form(("b", b"b"), ("a.mnc", b"a" * 400)), "unsupported_format"),
    "a text file called zip": (files_form(("study.zip", b"hello " * 100)), "not_an_archive"),
    "a 7z archive": (files_form(("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100))), "unsupported_format"),
    "a gzip of text": (files_form(("a.gz", gzipped(b"hello"))), "no_images"),
    "an encrypted zip": (files_form(("a.zip", encrypted_zip())), "archive_encrypted"),
    "a zip in a zip": (files_form(("a.zip", zip_of({"b.zip": zip_of({"c": DICOM})}))), "archive_nested"),
    "a tar in a tar": (files_form(("a.tar", tar_of({"b.tar": PADDED_TAR}))), "archive_nested"),
    "a rar in a zip": (files_form(("a.zip", zip_of({"b.rar": b"Rar!\x1a\x07\x00" + bytes(50)}))), "archive_nested"),
    "half a zip": (files_form(("a.zip", zip_of(named(dicom_files(2)))[:900])), "archive_truncated"),
    "half a tar": (files_form(("a.tar", PADDED_TAR[:1500])), "archive_truncated"),
    "a tar without its end": (
        files_form(("a.tar", PADDED_TAR[: 512 + -(-len(DICOM) // 512) * 512])),
        "archive_truncated",
    ),
    "half a tar.gz": (files_form(("a.tgz", gzipped(PADDED_TAR)[:-9])), "archive_truncated"),
    "half a nii.gz": (files_form(("a.nii.gz", gzipped(nifti_file())[:-9])), "nifti_truncated"),
    "an absolute path in a zip": (files_form(("a.zip", zip_named("/etc/cron.d/x"))), "archive_unsafe_path"),
    "a drive letter in a zip": (files_form(("a.zip", zip_named("C:\\x.dcm"))), "archive_unsafe_path"),
    "a path out of a zip": (files_form(("a.zip", zip_named("a/../../x.dcm"))), "archive_unsafe_path"),
    "a path out of a zip in DOS style": (files_form(("a.zip", zip_named("a\\..\\..\\x.dcm"))), "archive_unsafe_path"),
    "an absolute path in a tar": (files_form(("a.tar", tar_of({"/x.dcm": DICOM}))), "archive_unsafe_path"),
    "a path out of a tar": (files_form(("a.tar", tar_of({"../x.dcm": DICOM}))), "archive_unsafe_path"),
    "a link in a zip": (files_form(("a.zip", zip_with_symlink())), "archive_unsafe_member"),
    **{
        f"a {what} in a tar": (files_form(("a.tar", tar_of({"x": tar_entry("x", kind, "y")}))), "archive_unsafe_member")
        for what, kind in {
            "symbolic link": tarfile.SYMTYPE,
            "hard link": tarfile.LNKTYPE,
            "character device": tarfile.CHRTYPE,
            "block device": tarfile.BLKTYPE,
            "pipe": tarfile.FIFOTYPE,
        }.items()
    },
    "bzip2 inside a zip": (
        files_form(("a.zip", zip_with(lambda p: p.__setitem__(p.find(b"PK\x01\x02") + 10, 12)))),
        "archive_unsupported",
    ),
    "an unknown field": (files_form(("a", DICOM), colour="red"), "unknown_field"),
    "an unknown priority": (files_form(("a", DICOM), priority="now"), "unknown_priority"),
    "an unknown sex": (files_form(("a", DICOM), sex="X"), "invalid_sex"),
    "a long series": (files_form(("a", DICOM), series="s" * 301), "invalid_series"),
    "a long subject": (files_form(("a", DICOM), subject="s" * 201), "invalid_subject"),
    "a huge field": (files_form(("a", DICOM), bundle="s" * 2000), "malformed_upload"),
    **{
        f"an age of {age}": (files_form(("a", DICOM), age=age), "invalid_age")
        for age in ("-1", "120.1", "121", "nan", "inf", "1e1", "forty", "4_0", "٤٠")
    },
    "a body that stops": (files_form(("a", DICOM))[:-30], "malformed_upload"),
}


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused_by_its_own_code(tmp_path, body, code):
    assert refusal(tmp_path, body) == code


@pytest.mark.parametrize("age", ["0", "120", "63.25", " 40 "])
def test_ages_from_0_to_120_are_taken(tmp_path, age):
    assert receive(tmp_path, files_form(("a", DICOM), age=age))[0].age == float(age)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        f"multipart/form-data; boundary={'x' * 300}",
    ],
)
def test_a_body_that_is_no_form_is_refused_before_it_is_read(tmp_path, content_type):
    with pytest.raises(ServiceError) as caught:
        StudyForm(content_type, tmp_path, KEY, "default", Meter(SMALL))
    assert caught.value.code == "not_multipart"
    assert list(tmp_path.iterdir()) == []


def test_a_zip_bomb_is_stopped_by_its_ratio_long_before_it_is_unpacked(tmp_path):
    bomb = zip_of({"a.dcm": DICOM[:132] + bytes(80 * MIB)})
    counted = Meter(SMALL)
    form = StudyForm(CONTENT_TYPE, tmp_path, KEY, "default", counted)
    with pytest.raises(ServiceError) as caught:
        form.write(files_form(("a.zip", bomb)))
    form.discard()
    assert caught.value.code == "archive_bomb"
    assert counted._unpacked_bytes < 66 * MIB


def mgh_file():
    buffer = io.BytesIO()
    image = nib.MGHImage(np.arange(6 * 7 * 8, dtype=np.uint8).reshape(6, 7, 8) % 250, np.eye(4))
    image.to_stream(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("packing", ["parts", "zip"])
def test_gzipped_slices_are_the_same_study_as_unpacked(tmp_path, packing):
    files = dicom_files()
    packed = {f"{name}.gz": gzipped(data) for name, data in named(files).items()}
    parts = [("s.zip", zip_of(packed))] if packing == "zip" else list(packed.items())
    study = study_of(tmp_path, *parts)
    assert study.digest == study_of(tmp_path, *named(files).items()).digest
    assert stored(study) == list(named(files).values())


def test_a_gzipped_slice_that_is_cut_or_a_bomb_is_refused(tmp_path):
    data = next(iter(named(dicom_files()).values()))
    assert refusal(tmp_path, files_form(("a.dcm.gz", gzipped(data)[:-9]))) == "archive_truncated"
    assert refusal(tmp_path, files_form(("a.dcm.gz", gzipped(data + bytes(80 * MIB))))) == "archive_bomb"


def test_freesurfers_volume_is_one_study_however_it_is_packed(tmp_path):
    studies = [
        study_of(tmp_path, (name, data)) for name, data in (("a.mgh", mgh_file()), ("a.mgz", gzipped(mgh_file())))
    ]
    assert studies[0].digest == studies[1].digest
    assert [study.instances[0].kind for study in studies] == ["nifti", "nifti"]


def kept(study):
    return sorted((instance.kind, instance.name) for instance in study.instances)


def test_volumes_and_dicom_are_taken_together_and_of_names_no_more_is_kept_than_tells_volumes_apart(tmp_path):
    one, other = nifti_file(), nifti_file((3, 3, 3))
    assert kept(study_of(tmp_path, ("Doe.dcm", DICOM), ("Doe_T1w.nii", one))) == [("dicom", ""), ("nifti", "")]
    archive = {"sub-Doe/anat/sub-Doe_ses-1_T1w.nii": one, "sub-Doe/Jane_FLAIR.mgz": gzipped(mgh_file()), "d": DICOM}
    for form in ([("s.zip", zip_of(archive))], list(archive.items())):
        study = study_of(tmp_path, *form)
        assert kept(study) == [("dicom", ""), ("nifti", "_sub-1.x_flair"), ("nifti", "_sub-1.x_t1w")]
    assert kept(study_of(tmp_path, ("a_T1w.nii", one), ("b.nii", other))) == [("nifti", ".x"), ("nifti", ".x_t1w")]


def test_the_same_volumes_named_anew_are_another_study_and_one_alone_is_the_same_whatever_its_name(tmp_path):
    """Who is told to name the T1-weighted one, and does, must not get the same answer again."""
    one, other = nifti_file(), nifti_file((3, 3, 3))
    unnamed, named_so = ((name, one) for name in ("a.nii", "a_T1w.nii"))
    both = [study_of(tmp_path, first, ("b.nii", other)).digest for first in (unnamed, named_so)]
    assert both[0] != both[1]
    assert study_of(tmp_path, unnamed).digest == study_of(tmp_path, named_so).digest


def test_of_copies_the_name_counts_that_tells_the_contrast_most_surely(tmp_path):
    one, other = nifti_file(), nifti_file((3, 3, 3))
    names = ("x.nii", "x_T1w_brain.nii", "x_T1w.nii", "x_FLAIR.nii")
    for order in (names, names[::-1]):
        study = study_of(tmp_path, *((name, one) for name in order), ("b.nii", other))
        assert kept(study) == [("nifti", ".x"), ("nifti", ".x_t1w")]


def test_a_tar_gz_bomb_is_stopped_whether_its_members_are_read_or_skipped(tmp_path):
    bomb = gzipped(tar_of({"a.txt": bytes(80 * MIB)}))
    assert refusal(tmp_path, files_form(("a.tgz", bomb))) == "archive_bomb"


def test_a_nifti_bomb_is_stopped(tmp_path):
    assert refusal(tmp_path, files_form(("a.nii.gz", gzipped(nifti_file() + bytes(80 * MIB))))) == "archive_bomb"


@pytest.fixture(scope="module")
def large():
    """70 MiB behind the header of an image, an eighth as large when packed, as scans are."""
    return nifti_file() + np.random.default_rng(0).integers(0, 2, 70 * MIB, dtype=np.uint8).tobytes()


@pytest.mark.parametrize(
    "late",
    [("b.nii.gz", gzipped(nifti_file())), ("b.dcm.gz", gzipped(DICOM)), ("b.zip", zip_of({"b.dcm": DICOM}))],
    ids=lambda late: late[0],
)
def test_a_small_packed_file_after_a_large_one_is_no_bomb(tmp_path, large, late):
    study = study_of(tmp_path, ("a.nii.gz", gzipped(large)), late)
    assert len(study.instances) == 2


def test_a_bomb_is_stopped_after_a_large_file_too(tmp_path, large):
    bomb = gzipped(DICOM + bytes(200 * MIB))
    limits = Limits(upload_bytes=64 * MIB, unpacked_bytes=2048 * MIB, unpack_ratio=15.0, files=1000)
    assert refusal(tmp_path, files_form(("a.nii.gz", gzipped(large)), ("b.dcm.gz", bomb)), limits) == "archive_bomb"


def test_the_total_is_limited_whatever_the_ratio(tmp_path):
    noise = random.Random(0).randbytes(3 * MIB)
    limits = Limits(upload_bytes=64 * MIB, unpacked_bytes=2 * MIB, unpack_ratio=50.0, files=1000)
    assert refusal(tmp_path, files_form(("a.zip", zip_of({"a": noise}))), limits) == "archive_bomb"


def test_a_huge_pax_header_is_not_read_into_memory(tmp_path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 32
    assert (
        refusal(tmp_path, files_form(("a.tar", header.tobuf(tarfile.USTAR_FORMAT) + bytes(2000))))
        == "archive_unsupported"
    )


def test_a_hundred_thousand_entries_are_refused_by_their_count_alone(tmp_path):
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 100, 100, len(directory), 0, 0)  # it says 100
    body = files_form(("a.zip", b"PK\x03\x04" + bytes(26) + directory + end))
    meter = Meter(Limits(64 * MIB, 256 * MIB, 50.0, 50_000))
    form = StudyForm(CONTENT_TYPE, tmp_path, KEY, "default", meter)
    with pytest.raises(ServiceError) as caught:
        form.write(body)
    form.discard()
    assert (caught.value.code, meter._unpacked_bytes) == ("too_many_files", 0)


@pytest.mark.parametrize("packing", ["zip", "tar", "parts"])
def test_more_files_than_a_study_has_are_refused(tmp_path, packing):
    many = {f"{index}": b"x" for index in range(1001)}
    files = {
        "zip": lambda: [("a.zip", zip_of(many))],
        "tar": lambda: [("a.tar", tar_of(many))],
        "parts": lambda: list(many.items()),
    }[packing]()
    assert refusal(tmp_path, files_form(*files)) == "too_many_files"


class Kept:
    """Where a judged file goes: remembers what it got."""

    def __init__(self):
        self.judged = []
        self.data = b""
        self.closed = False

    def begin(self, content, head):
        self.judged.append(content)
        self.data += head
        return self

    def write(self, data):
        self.data += data

    def close(self):
        self.closed = True


@pytest.mark.parametrize("size_bytes", [0, 5, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 3 * HEAD_BYTES])
def test_a_file_is_judged_once_by_its_head_and_goes_on_whole(size_bytes):
    kept, data = Kept(), b"PK\x03\x04" + bytes(size_bytes)
    file = JudgedFile(kept.begin)
    assert file.is_empty
    for first in range(0, len(data), 1000):
        file.write(data[first : first + 1000])
    assert not file.is_empty
    file.close()
    assert (kept.judged, kept.data, kept.closed) == ([Content.ZIP], data, True)
