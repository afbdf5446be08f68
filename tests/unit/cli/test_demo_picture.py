import io

from rich.console import Console

from med3d_cli.embedded.demo import without_remote_fonts


def test_the_picture_loads_nothing_from_elsewhere() -> None:
    console = Console(record=True, width=40, file=io.StringIO())
    console.print("brain age 52.0 a")
    drawn = console.export_svg(title="demo")
    picture = without_remote_fonts(drawn)
    assert "url(" in drawn.replace("url(#", "")
    assert "url(" not in picture.replace("url(#", "")
    assert "brain" in picture
