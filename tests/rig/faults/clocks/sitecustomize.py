"""Put on PYTHONPATH beside libfaketime, whose clock_nanosleep refuses what Python's time.sleep asks of it."""

import operator
import threading
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    threading.Event().wait(seconds if isinstance(seconds, float) else operator.index(seconds))


time.sleep = _sleep
