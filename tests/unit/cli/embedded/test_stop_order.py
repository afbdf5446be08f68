"""How long the processes of `med3d serve` are given to end."""

from med3d_cli.embedded.system import STOP_ORDER


def test_all_that_stop_one_after_the_other_have_less_than_ten_seconds():
    assert sum(seconds for _, seconds in STOP_ORDER) < 10
