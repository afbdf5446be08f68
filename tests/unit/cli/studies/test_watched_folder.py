"""What counts as whole in a watched folder, and where it is kept."""

import json
import os
import threading

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.watch import HandOver
from med3d_cli.studies.watched_folder import WatchedFolder
from med3d_client.results import StudyOptions


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watched(tmp_path, clock):
    made = WatchedFolder(tmp_path, 10.0, clock)
    with made.held():
        yield made


def taken_at(watched, clock, now_s):
    clock.now_s = now_s
    return [path.name for path in watched.take()]


def test_what_does_not_change_for_the_quiet_time_is_taken(watched, clock, tmp_path):
    (tmp_path / "study.zip").write_bytes(b"1")
    assert taken_at(watched, clock, 100) == []
    assert watched.waits
    assert taken_at(watched, clock, 109) == []
    assert taken_at(watched, clock, 110) == ["study.zip"]
    assert not watched.waits
    assert not (tmp_path / "study.zip").exists()


def test_a_folder_that_grows_in_its_depth_is_left_until_it_stops(watched, clock, tmp_path):
    below = tmp_path / "study" / "series"
    below.mkdir(parents=True)
    for now_s in (100, 108, 116):
        (below / f"{now_s}.dcm").write_bytes(b"1")
        assert taken_at(watched, clock, now_s) == []
    assert taken_at(watched, clock, 125) == []
    assert taken_at(watched, clock, 126) == ["study"]


def test_a_file_rewritten_at_the_same_size_is_not_whole(watched, clock, tmp_path):
    path = tmp_path / "study.zip"
    path.write_bytes(b"1")
    taken_at(watched, clock, 100)
    os.utime(path, ns=(1, 1))
    assert taken_at(watched, clock, 110) == []
    assert taken_at(watched, clock, 120) == ["study.zip"]


def test_unfinished_hidden_and_linked_entries_are_left_alone(watched, clock, tmp_path):
    for name in ("a.zip.part", "b.tmp", ".c.zip"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "link").symlink_to("/etc")
    taken_at(watched, clock, 100)
    assert taken_at(watched, clock, 200) == []


def test_without_a_quiet_time_what_is_there_is_whole(tmp_path, clock):
    watched = WatchedFolder(tmp_path, 0.0, clock)
    with watched.held():
        (tmp_path / "study.zip").write_bytes(b"1")
        assert taken_at(watched, clock, 100) == ["study.zip"]


def test_what_a_crash_left_taken_is_given_again(tmp_path, clock):
    for _ in range(2):
        watched = WatchedFolder(tmp_path, 0.0, clock)
        with watched.held():
            if not watched.take():
                (tmp_path / "study.zip").write_bytes(b"1")
                assert watched.take()
    assert [path.name for path in (tmp_path / ".taken").iterdir()] == ["study.zip"]


def test_a_name_that_comes_again_is_kept_beside_the_first_with_its_own_note(watched, clock, tmp_path):
    for number in (1, 2):
        (tmp_path / "study.nii.gz").write_bytes(b"%d" % number)
        taken_at(watched, clock, clock.now_s)
        taken_at(watched, clock, clock.now_s + 10)
        (taken,) = watched.take()
        watched.done(taken, {"run_id": str(number)})
    kept = tmp_path / "done"
    assert sorted(path.name for path in kept.iterdir()) == [
        "2-study.nii.gz",
        "2-study.nii.gz.json",
        "study.nii.gz",
        "study.nii.gz.json",
    ]
    assert json.loads((kept / "2-study.nii.gz.json").read_text()) == {"run_id": "2"}


def test_two_watchers_do_not_share_a_folder(watched, tmp_path):
    other = WatchedFolder(tmp_path, 0.0)
    with pytest.raises(CommandError, match="already"), other.held():
        pass


class NeverAsked:
    """A client whose service is sent nothing."""

    def submit(self, _upload, _options):
        raise AssertionError("sent")


@pytest.mark.parametrize("link", ["study/scan.nii.gz", "study/series/more"])
def test_a_study_that_leads_elsewhere_is_not_sent(watched, clock, tmp_path, link):
    (tmp_path / "study" / "series").mkdir(parents=True)
    (tmp_path / "study" / "a.nii.gz").write_bytes(b"1")
    (tmp_path / link).symlink_to("/etc")
    taken_at(watched, clock, 100)
    clock.now_s = 200
    assert HandOver(watched, NeverAsked(), StudyOptions()).look(threading.Event())
    note = json.loads((tmp_path / "refused" / "study.json").read_text())
    assert (note["code"], (tmp_path / "refused" / "study").is_dir()) == ("holds_links", True)


@pytest.mark.parametrize("name", ["done", ".watch.lock"])
def test_a_watched_folder_whose_own_places_lead_elsewhere_is_not_watched(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CommandError), WatchedFolder(tmp_path / "watched", 0.0).held():
        pass
