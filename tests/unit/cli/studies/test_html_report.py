"""What `med3d analyse --html` leaves in its folder."""

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.html_report import INDEX, write_index


def test_a_page_that_cannot_be_put_in_place_leaves_nothing_beside_it(tmp_path):
    (tmp_path / INDEX).mkdir()
    with pytest.raises(CommandError, match="cannot be written: Is a directory"):
        write_index(tmp_path, [], {})
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]
