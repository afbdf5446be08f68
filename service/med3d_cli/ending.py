"""An end that is asked for from outside: the temporary folders of whoever is ended go with it."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ASKED = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Have SIGTERM and a closed terminal end this process as Ctrl-C does, not at once; for the main thread."""
    before = {number: signal.getsignal(number) for number in ASKED}
    end_in_order()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_in_order() -> None:
    """Have it so from now on."""
    for number in ASKED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as with nohup
            signal.signal(number, lambda asked, _frame: sys.exit(128 + asked))
