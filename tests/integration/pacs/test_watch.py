"""`med3d watch` as a real process beside a real service."""

import json
import os
import signal
import subprocess
import sys

import pytest

from rig.dicom.uploads import named, zip_of
from rig.processes.gateway import files_of, new_study
from rig.processes.waiting import wait_until


class Watcher:
    """Starts and kills `med3d watch` on one folder."""

    def __init__(self, folder, service):
        self.folder = folder
        self.log = folder.parent / "watch.log"
        self.process = None
        self._environment = os.environ | {"MED3D_URL": service.url, "MED3D_API_KEY": service.key}

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "med3d_cli", "watch", self.folder, "--quiet", "0.5", "--every", "0.1"],
                env=self._environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(20)

    def note(self, where, name):
        """The note beside a study, once it is there."""
        path = self.folder / where / f"{name}.json"
        wait_until(path.exists, f"the note in {where}; the watcher said: {self.log.read_text()}")
        return json.loads(path.read_text())


@pytest.fixture
def watcher(gateway, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    made = Watcher(folder, gateway).start()
    yield made
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


def put(folder, name, files):
    (folder / f".{name}").mkdir()
    for number, data in enumerate(files):
        (folder / f".{name}" / f"{number}.dcm").write_bytes(data)
    (folder / f".{name}").rename(folder / name)


def test_folders_and_archives_are_sent_and_kept_as_done_and_others_as_refused(gateway, watcher):
    put(watcher.folder, "Doe^Jane", files_of(new_study(4)))
    (watcher.folder / "study.zip").write_bytes(zip_of(named(files_of(new_study(3)))))
    (watcher.folder / "letter.txt").write_bytes(b"no image")
    (watcher.folder / "empty").mkdir()
    for name, files in (("Doe^Jane", 4), ("study.zip", 3)):
        note = watcher.note("done", name)
        assert gateway.study(note["study_id"])["files"] == files
        wait_until((watcher.folder / "done" / name).exists, "the study beside its note")
    assert watcher.note("refused", "letter.txt")["code"] == "no_images"
    assert watcher.note("refused", "empty")["code"] == "unreadable"
    assert watcher.end() == 0
    assert "Doe" not in watcher.log.read_text()


def test_a_watcher_that_is_killed_while_it_sends_goes_on_and_each_study_has_one_run(gateway, watcher):
    for name in ("one", "two", "three"):
        put(watcher.folder, name, files_of(new_study(40)))
        taken, done = (watcher.folder / where / name for where in (".taken", "done"))
        wait_until(lambda taken=taken, done=done: taken.exists() or done.exists(), "the taking")
        watcher.end(signal.SIGKILL)
        watcher.start()
    for name in ("one", "two", "three"):
        note = watcher.note("done", name)
        assert [run["run_id"] for run in gateway.study(note["study_id"])["runs"]] == [note["run_id"]]


def test_a_study_waits_while_the_service_is_away(gateway, watcher):
    gateway.stop("api")
    try:
        put(watcher.folder, "two", files_of(new_study(3)))
        wait_until(lambda: "waiting for the service" in watcher.log.read_text(), "the watcher's notice")
        assert (watcher.folder / ".taken" / "two").exists()
    finally:
        gateway.start("api")
    assert watcher.note("done", "two")["run_id"] in gateway.runs()
