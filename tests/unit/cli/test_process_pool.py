"""A process that dies takes no other's work with it."""

import os

from med3d_cli.bids.process_pool import in_processes


def double_or_die(number):
    if number == 2:
        os._exit(9)
    return 2 * number


def negative(number):
    return -number


def test_the_others_are_done_and_it_is_said_of_the_one_that_dies_again():
    assert sorted(in_processes(double_or_die, [1, 2, 3], 2, negative)) == [-2, 2, 6]
