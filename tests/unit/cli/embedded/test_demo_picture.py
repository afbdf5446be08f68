import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from med3d_cli.embedded.demo import another_link, without_remote_fonts
from med3d_cli.embedded.demo_head import average_head


def test_the_picture_loads_nothing_from_elsewhere() -> None:
    console = Console(record=True, width=40, file=io.StringIO())
    console.print("brain age 52.0 a")
    drawn = console.export_svg(title="demo")
    picture = without_remote_fonts(drawn)
    assert "url(" in drawn.replace("url(#", "")
    assert "url(" not in picture.replace("url(#", "")
    assert "brain" in picture


def test_without_the_wheel_the_head_is_the_bundle_s_on_coarser_voxels() -> None:
    fine, coarse = average_head(), average_head("no_such_wheel")
    assert coarse.spacing_mm == pytest.approx((2.0, 2.0, 2.0), abs=0.01)
    lengths = [[n * mm for n, mm in zip(head.shape, head.spacing_mm, strict=True)] for head in (fine, coarse)]
    assert lengths[1] == pytest.approx(lengths[0], abs=2.0)
    assert coarse.affine[:3, 3] == pytest.approx(fine.affine[:3, 3])


def test_another_link_is_printed_by_a_command_that_any_shell_finds_with_the_demo_s_own_folder() -> None:
    setting, command, *rest = shlex.split(another_link(Path("/tmp/a folder")))
    assert setting == "MED3D_DATA_DIR=/tmp/a folder"
    assert Path(command).is_file()
    assert rest == ["sign-in", "--clinical"]
