"""The child that parses what came from outside: what it is given, and what it is bound to."""

import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless
from structlog.testing import capture_logs

from med3d_service.settings import GIB
from med3d_service.storage.sealed import SealBrokenError, SealedReader, SealedWriter, file_key
from med3d_service.studies.original_names import original_name
from med3d_service.studies.working_copy.messages import Container, Job, Limits, Member
from med3d_service.studies.working_copy.pixels.child import MOST_SAMPLES, _Image
from med3d_service.studies.working_copy.pixels.decoder import PixelDecoder
from med3d_service.studies.working_copy.sandbox import Sandbox
from rig.dicom.series import head_like, ras_affine, slice_datasets
from rig.processes.waiting import wait_until

ORIGINALS_KEY = b"o" * 32
LIMITS = Limits(memory_bytes=3 * GIB, cpu_s=60, file_bytes=GIB)


class Watched(Sandbox):
    """A sandbox whose waiting child can be looked at."""

    def of_child(self, name):
        assert self._ready is not None
        return Path(f"/proc/{self._ready.pid}/{name}").read_bytes()


class WatchedDecoder(PixelDecoder):
    """A decoder that tells which process it asks."""

    def _started(self, study, folders):
        self.asked = super()._started(study, folders)
        return self.asked


@pytest.fixture
def sandbox():
    made = Watched(LIMITS, timeout_s=10.0)
    os.environ |= {"MED3D_BROKER_URL": "redis://:SECRET@host", "MED3D_SITE_KEY": "5e" * 32}
    made.prepare()
    yield made
    made.close()
    for name in ("MED3D_BROKER_URL", "MED3D_SITE_KEY"):
        del os.environ[name]


def sealed(folder, number):
    writer = SealedWriter(folder / str(number), ORIGINALS_KEY, original_name(str(number), "here"))
    writer.write(b"an original")
    writer.close()
    return writer


def as_container(original, number):
    key = file_key(original.path, ORIGINALS_KEY).hex()
    return Container(path=str(original.path), upload_id=str(number), site="here", sha256=original.sha256, key=key)


def test_the_child_knows_neither_broker_nor_site_key_and_is_bound_in_memory(sandbox):
    wait_until(lambda: b"Max address space" in sandbox.of_child("limits"), "the child")
    limit = re.compile(rb"Max address space +%d " % LIMITS.memory_bytes)
    wait_until(lambda: limit.search(sandbox.of_child("limits")), "its limit of memory")
    names = {entry.split(b"=")[0] for entry in sandbox.of_child("environ").split(b"\0") if entry}
    assert names <= {b"PATH", b"LD_LIBRARY_PATH", b"LANG", b"OMP_NUM_THREADS", b"OPENBLAS_NUM_THREADS"}
    assert b"SECRET" not in sandbox.of_child("environ") + sandbox.of_child("cmdline")


def test_the_child_has_shut_itself_in_before_it_is_told_of_a_study(sandbox):
    if not (Path("/proc/self/status").exists() and b"Seccomp_filters" in Path("/proc/self/status").read_bytes()):
        pytest.skip("no seccomp in this kernel")
    wait_until(lambda: b"Seccomp:\t2" in sandbox.of_child("status"), "its filter")
    assert b"NoNewPrivs:\t1" in sandbox.of_child("status")


def test_a_child_that_the_kernel_cannot_shut_in_is_told_of_once():
    sandbox = Sandbox(LIMITS, timeout_s=10.0)
    with capture_logs() as told:
        for unconfined in (("landlock",), ("landlock",), ()):
            sandbox._tell_of(unconfined)
    ours = [
        one["missing"] for one in told if one["event"] == "child_not_confined"
    ]  # threads of other tests may tell, too
    assert ours == [["landlock"]]


def test_what_the_child_is_told_opens_the_originals_of_its_study_and_no_others(tmp_path):
    ours, other = sealed(tmp_path, 1), sealed(tmp_path, 2)
    container = as_container(ours, 1)
    job = Job(containers=(container,), uid_key="75" * 32, members=(), target="t")
    told = json.loads(job.told())
    assert ORIGINALS_KEY.hex() not in job.told()
    key = bytes.fromhex(told["containers"][0]["key"])
    with SealedReader.by_file_key(ours.path, key, original_name("1", "here"), ours.sha256) as reader:
        assert reader.readall() == b"an original"
    with (
        SealedReader.by_file_key(other.path, key, original_name("2", "here"), other.sha256) as reader,
        pytest.raises(SealBrokenError),
    ):
        reader.readall()
    assert key.hex() not in repr(job)


def test_a_child_that_decodes_pixels_sees_the_images_of_one_study_alone(tmp_path):
    decoder = WatchedDecoder(LIMITS, timeout_s=10.0)
    containers = [as_container(sealed(tmp_path, number), number) for number in range(2)]
    members = [Member(container=number, kind="dicom", offset_bytes=0, size_bytes=100) for number in range(2)]

    def ask(study):
        assert not decoder.show_the_same(study, containers, members)
        return decoder.asked.pid

    first = ask(("here", "one"))
    assert ask(("here", "one")) == first
    assert ask(("here", "other")) != first
    decoder.close()


def test_a_frame_that_declares_another_size_than_its_header_is_given_to_no_codec():
    (image, *_) = slice_datasets(head_like((64, 48, 4)), ras_affine())
    expected = image.pixel_array
    image.compress(JPEG2000Lossless, generate_instance_uid=False)
    np.testing.assert_array_equal(_Image(image).values, expected)
    data = bytearray(image.PixelData)
    at = data.index(b"\xff\x4f\xff\x51") + 8
    data[at : at + 8] = data[at + 16 : at + 24] = struct.pack(">LL", 20_000, 20_000)
    image.PixelData = bytes(data)
    with pytest.raises(ValueError, match="declares another size"):
        _Image(image)
    image.Rows = image.Columns = 20_000
    assert image.Rows * image.Columns > MOST_SAMPLES
    with pytest.raises(ValueError, match="larger than any volume"):
        _Image(image)
