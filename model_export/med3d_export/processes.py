"""Processes that do the work of one command side by side."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def start_processes(
    count: int, start: Callable[..., object], given: tuple[Any, ...], method: str | None = None
) -> ProcessPoolExecutor:
    """Return ``count`` processes, each of which begins with ``start(*given)`` and ends with the one that started it.

    A command that is killed cannot end them, and nobody would take what they go on to make. method: "spawn" where
    neither torch's threads nor a CUDA context may be inherited; the system's usual one where None.
    """
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(count, context, initializer=_begin, initargs=(start, *given))


def _begin(start: Callable[..., object], *given: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
