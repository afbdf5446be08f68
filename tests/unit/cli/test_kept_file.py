"""A file is there whole or not at all, and nothing is left beside it."""

from errno import ENOSPC

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.kept_file import placed, write_whole


def pieces_until_the_disk_is_full():
    yield b"the beginning"
    raise OSError(ENOSPC, "No space left on device")


def test_a_full_disk_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    (tmp_path / "table.csv").write_text("of yesterday")
    with pytest.raises(CommandError, match="No space left on device"):
        write_whole(tmp_path / "table.csv", pieces_until_the_disk_is_full())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.csv", "of yesterday")]


def test_what_is_written_has_the_same_ending_aside(tmp_path):
    with placed(tmp_path / "mask.nii.gz") as aside:
        aside.write_text("whole")
        assert aside.name.endswith(".nii.gz")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mask.nii.gz", "whole")]
