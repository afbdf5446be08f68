"""Bodies of very many parts, or parts with very many headers, end early; a disk keeps its reserve."""

import time

import pytest

from med3d_service.problems import ServiceError
from med3d_service.studies.arrivals.instance_parts import MOST_STRAYS, InstanceParts
from med3d_service.studies.dicom_instances.related import DamagedBodyError, RelatedBody, TooManyPartsError
from med3d_service.studies.multipart import LARGEST_HEADER, MOST_HEADERS
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import LOOKED_EVERY_BYTES, Limits, Meter
from rig.dicom.uploads import BOUNDARY, CONTENT_TYPE, dicom_files, files_form, zip_of

MIB = 1024**2
LIMITS = Limits(upload_bytes=64 * MIB, unpacked_bytes=256 * MIB, unpack_ratio=1e6, files=1000)
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
BEYOND_ANY_DISK = 1 << 62


def part(content, *headers):
    return f"--{BOUNDARY}\r\n".encode() + b"".join(line + b"\r\n" for line in headers) + b"\r\n" + content + b"\r\n"


def named(name):
    return f'Content-Disposition: form-data; name="{name}"'.encode()


def in_form(tmp_path, body, limits=LIMITS):
    """What a form says of a body."""
    form = StudyForm(CONTENT_TYPE, tmp_path, b"k" * 32, "default", Meter(limits))
    try:
        for start in range(0, len(body), MIB):
            form.write(body[start : start + MIB])
        form.finish()
    except ServiceError as error:
        return error.code
    finally:
        form.discard()
    return "taken"


def related(body, most_files=50_000):
    """How many parts were taken in; raises what the body raises."""
    taken = []
    parts = InstanceParts(taken.append)
    try:
        stream = RelatedBody(RELATED, parts, most_files)
        for start in range(0, len(body), MIB):
            stream.write(body[start : start + MIB])
        stream.finish()
        parts.finish()
    finally:
        parts.close()
    return len(taken)


def ended(*parts):
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def test_ten_mib_of_tiny_parts_end_after_the_first_ones():
    tiny = part(b"x")
    began = time.process_time()
    with pytest.raises(TooManyPartsError):
        related(ended(*[tiny] * (10 * MIB // len(tiny))))
    assert time.process_time() - began < 2, "26 s before"


def test_some_parts_that_are_no_dicom_are_told_one_by_one():
    files = dicom_files(4)
    assert related(ended(*map(part, files), *[part(b"x")] * MOST_STRAYS)) == 4 + MOST_STRAYS
    with pytest.raises(TooManyPartsError):
        related(ended(*map(part, files), *[part(b"x")] * (MOST_STRAYS + 1)))


def test_a_body_holds_so_many_instances_and_no_more():
    files = [part(file) for file in dicom_files(6)]
    assert related(ended(*files), most_files=6) == 6
    with pytest.raises(TooManyPartsError):
        related(ended(*files), most_files=5)


def test_a_field_that_comes_again_and_again_is_a_part_each_time(tmp_path):
    assert in_form(tmp_path, ended(*[part(b"63", named("age"))] * 2000)) == "too_many_files"
    assert in_form(tmp_path, ended(*[part(b"", named("files"))] * 2000)) == "too_many_files"


@pytest.mark.parametrize(
    "headers", [[b"X-%d: 1" % number for number in range(MOST_HEADERS + 1)], [b"X: " + b"a" * (LARGEST_HEADER + 1)]]
)
def test_a_part_has_few_and_small_headers(tmp_path, headers):
    assert in_form(tmp_path, ended(part(b"x", named("files"), *headers))) == "malformed_upload"
    with pytest.raises(DamagedBodyError):
        related(ended(part(b"x", *headers)))


def test_a_form_leaves_the_reserve_of_the_disk_alone(tmp_path):
    body = files_form(("a.dcm", dicom_files(1)[0]))
    assert in_form(tmp_path, body) == "taken"
    limits = Limits(64 * MIB, 256 * MIB, 1e6, 1000, reserve_bytes=BEYOND_ANY_DISK, reserved_in=tmp_path)
    assert in_form(tmp_path, body, limits) == "disk_full"
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_unpacked_leaves_it_alone_too(tmp_path):
    class FillsUp(Meter):
        """As if the disk filled up once the body is there."""

        looked = 0

        def require_room(self):
            super().require_room()
            self.looked += 1
            if self.looked > 1:
                raise ServiceError("disk_full")

    archive = zip_of({"large": bytes(2 * LOOKED_EVERY_BYTES)})
    form = StudyForm(CONTENT_TYPE, tmp_path, b"k" * 32, "default", FillsUp(LIMITS))
    with pytest.raises(ServiceError, match="disk_full"):
        form.write(files_form(("a.zip", archive)))
    form.discard()
    assert list(tmp_path.iterdir()) == []
