import stat

import pytest

from med3d_worker.scratch import Scratch


def test_a_folder_is_private_and_gone_afterwards(tmp_path):
    with Scratch(tmp_path / "scratch").folder() as folder:
        (folder / "slice").write_bytes(b"x")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((tmp_path / "scratch").glob("study-*")) == []


def test_a_folder_is_gone_after_an_exception_too(tmp_path):
    scratch = Scratch(tmp_path)
    with pytest.raises(RuntimeError), scratch.folder():
        raise RuntimeError
    assert list(tmp_path.glob("study-*")) == []


def test_what_a_killed_worker_left_is_reclaimed(tmp_path):
    left = tmp_path / "study-left"
    (left / "content").mkdir(parents=True)
    (left / ".lock").touch()
    assert Scratch(tmp_path).reclaim() == 1
    assert not left.exists()


def test_a_folder_in_use_is_not_reclaimed(tmp_path):
    with Scratch(tmp_path).folder() as folder:
        assert Scratch(tmp_path).reclaim() == 0
        assert folder.is_dir()
