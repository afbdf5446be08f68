"""Work for processes of a pool, which must be able to import it."""

import os


def double_or_die(number: int) -> int:
    """Double a number; whoever is given 2 dies."""
    if number == 2:
        os._exit(9)
    return 2 * number


def negative(number: int) -> int:
    """Say which number it was."""
    return -number
