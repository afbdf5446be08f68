"""A process that dies takes no other's work with it."""

from med3d_cli.bids.process_pool import in_processes
from rig.processes.pool_work import double_or_die, negative


def test_the_others_are_done_and_it_is_said_of_the_one_that_dies_again():
    assert sorted(in_processes(double_or_die, [1, 2, 3], 2, negative)) == [-2, 2, 6]
