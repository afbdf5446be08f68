"""A stream for log lines that is never in the way of the work that they tell of."""

from contextlib import suppress
from typing import TextIO, cast


class _LogStream:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def make_log_stream(stream: TextIO) -> TextIO:
    """Return a stream that writes to ``stream`` where it can: a full disk under the log ends no process."""
    return cast("TextIO", _LogStream(stream))
