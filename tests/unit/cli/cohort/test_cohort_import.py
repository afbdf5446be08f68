import gzip

import pytest

from med3d_cli.cohort.cohort_import import import_scans
from med3d_cli.cohort.commands import night_of
from med3d_cli.errors import CommandError
from med3d_client.transport import ApiError, ApiUnavailable
from med3d_contract.cohort_manifest import read_manifest
from med3d_contract.cohorts import MembersAnswer
from med3d_contract.identity import nifti_study_digest


class MemoryCohorts:
    """A store that knows studies by digest; ``refuses`` is the content that it does not take."""

    def __init__(self, refuses=b"?"):
        self.store = set()
        self.entries = {}
        self.uploads = 0
        self.away_after = None
        self.refuses = refuses

    def add(self, cohort, entries):
        known = [entry for entry in entries if entry.study_digest in self.store]
        self.entries |= {entry.study_digest: entry for entry in known}
        missing = tuple(place for place, entry in enumerate(entries) if entry not in known)
        return MembersAnswer(added=len(known), known=0, missing=missing)

    def send(self, cohort, upload):
        if self.away_after == self.uploads:
            raise ApiUnavailable("gone")
        content = upload.content.read()
        if self.refuses in content:
            raise ApiError(422, "no_images", "A file is neither DICOM nor NIfTI")
        self.uploads += 1
        self.store.add(nifti_study_digest(self.here / f"{content.decode()}.nii"))
        return "study"


def written(folder, count, client):
    client.here = folder
    rows = ["participant_id,age,t1w"]
    for number in range(count):
        (folder / f"{number}.nii").write_bytes(str(number).encode())
        rows.append(f"s{number},{40 + number},{number}.nii")
    (folder / "participants.csv").write_text("\n".join(rows))
    return read_manifest(folder)


def test_what_the_store_has_is_not_sent_again(tmp_path):
    client = MemoryCohorts()
    scans = written(tmp_path, 3, client)
    assert (import_scans(client, "c", scans[:2]).sent, client.uploads) == (2, 2)
    done = import_scans(client, "c", scans)
    assert (done.sent, done.known, client.uploads) == (1, 2, 3)
    assert [entry.participant_id for entry in client.entries.values()] == ["s0", "s1", "s2"]


def test_an_import_that_breaks_off_goes_on_where_it_stopped(tmp_path):
    client = MemoryCohorts()
    scans = written(tmp_path, 5, client)
    client.away_after = 3
    with pytest.raises(ApiUnavailable):
        import_scans(client, "c", scans)
    client.away_after = None
    done = import_scans(client, "c", scans)
    assert (done.sent, done.known, client.uploads) == (2, 3, 5)


def test_a_scan_that_is_refused_or_damaged_is_named_with_its_row_and_the_others_go_on(tmp_path):
    client = MemoryCohorts(refuses=b"1")
    scans = list(written(tmp_path, 3, client))
    cut = tmp_path / "2.nii"
    cut.write_bytes(gzip.compress(b"2" * 999)[:-9])
    rows = []
    done = import_scans(client, "c", scans, rows.append)
    assert done.sent == 1
    assert [line.split(":")[0] for line in done.problems] == ["row 4", "row 3"]
    assert "neither DICOM nor NIfTI" in done.problems[1]
    assert sum(rows) == 3


def test_packed_and_unpacked_bytes_are_the_same_study(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"voxels")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"vox") + gzip.compress(b"els"))
    assert nifti_study_digest(tmp_path / "a.nii") == nifti_study_digest(tmp_path / "a.nii.gz")


def test_a_night_is_read_from_one_word():
    night = night_of("22:00-06:30@Europe/Berlin")
    assert (night.start.hour, night.end.minute, night.time_zone) == (22, 30, "Europe/Berlin")


@pytest.mark.parametrize("text", ["22:00", "22:00-06:00", "22:00-22:00@UTC", "25:00-06:00@UTC", "22:00-06:00@Berlin"])
def test_what_is_no_night_is_said(text):
    with pytest.raises(CommandError, match="is no night"):
        night_of(text)
