"""What `med3d submit` unpacks on its way is gone, however it ends."""

import signal
import tempfile

import pytest

from med3d_cli.studies.commands import _submit_one
from med3d_client.results import StudyOptions
from rig.dicom.uploads import nifti_file, zip_of


class Ended:
    """While it sends, somebody sends this process a signal."""

    def __init__(self, number, scratch):
        self.number, self.scratch = number, scratch

    def submit(self, upload, options):
        assert any(self.scratch.iterdir())
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_finds_nothing_unpacked(tmp_path, number):
    scratch, study = tmp_path / "scratch", tmp_path / "study"
    scratch.mkdir()
    study.mkdir()
    (study / "0.zip").write_bytes(zip_of({"0.nii": nifti_file()}))
    before, tempfile.tempdir = (signal.signal(number, lambda *_: None), str(scratch))
    try:
        with pytest.raises(SystemExit) as ended:
            _submit_one(Ended(number, scratch), study, StudyOptions(), quiet=True)
    finally:
        tempfile.tempdir = None
        signal.signal(number, before)
    assert ended.value.code == 128 + number
    assert list(scratch.iterdir()) == []
