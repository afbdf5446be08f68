import stat

import pytest

from med3d_cli.data_dir import DataDir
from med3d_cli.errors import CommandError


def test_the_folders_are_for_this_user_only(tmp_path):
    data_dir = DataDir(tmp_path / "data")
    data_dir.prepare()
    for folder in (data_dir.root, data_dir.logs, data_dir.broker, data_dir.scratch):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_service_on_the_same_folder_is_refused_with_the_holders_pid(tmp_path):
    data_dir = DataDir(tmp_path)
    data_dir.prepare()
    with (
        data_dir.locked(),
        pytest.raises(CommandError, match=r"another `med3d serve` \(process \d+\)"),
        data_dir.locked(),
    ):
        pass


def test_the_folder_is_free_again_afterwards(tmp_path):
    data_dir = DataDir(tmp_path)
    for _ in range(2):
        with data_dir.locked():
            pass


def test_a_deep_folder_gets_a_short_socket_that_is_gone_afterwards(tmp_path):
    deep = DataDir(tmp_path / ("d" * 120))
    with deep.broker_socket() as socket:
        assert len(str(socket)) < 100
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert not socket.parent.exists()


def test_a_shallow_folder_holds_its_own_socket(tmp_path):
    with DataDir(tmp_path / "d").broker_socket() as socket:
        assert socket.parent == tmp_path / "d" / "broker" or len(str(tmp_path)) > 80


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be used"):
        DataDir(tmp_path / "file" / "data").prepare()
