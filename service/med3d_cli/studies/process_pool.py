"""Work shared out among processes, of which one may die, as where memory runs out: it takes no other's work with it.

None outlives who gave the work: children end with their parent, however it ends, and leave no temporary folder behind.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from med3d_cli.ending import end_in_order

Item = TypeVar("Item")
Done = TypeVar("Done")
Begin = tuple[Callable[..., None], tuple[Any, ...]]
"""What each process begins with, and its arguments."""
LEAST_S = 10.0
"""How long a child whose parent is gone may take to leave nothing behind; a network's answer takes less."""


def in_processes(
    do: Callable[[Item], Done],
    items: Sequence[Item],
    processes: int,
    died: Callable[[Item], Done],
    begin: Begin | None = None,
) -> Iterator[Done]:
    """Yield what ``do`` makes of each item, in whatever order it is done.

    Where a process dies, each item that is not done gets a process of its own; ``died`` says what is made of one whose
    process dies again. Who stops asking, as by Ctrl-C, ends what is under way, and nothing more is begun.
    """
    left = dict(enumerate(items))
    with _pool(processes, begin) as pool:
        waiting = {pool.submit(_done, do, item): number for number, item in left.items()}
        for ended in as_completed(waiting):
            try:
                made = ended.result()
            except BrokenProcessPool:
                continue
            del left[waiting[ended]]
            yield made
    for item in left.values():
        yield _alone(do, item, died, begin)


def _alone(do: Callable[[Item], Done], item: Item, died: Callable[[Item], Done], begin: Begin | None) -> Done:
    with _pool(1, begin) as pool:
        try:
            return pool.submit(_done, do, item).result()
        except BrokenProcessPool:
            return died(item)


@contextmanager
def _pool(processes: int, begin: Begin | None) -> Iterator[ProcessPoolExecutor]:
    # Spawned: runtimes of networks do not survive a fork.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(processes, context, _begin, (begin,)) as pool:
        try:
            yield pool
        except BaseException:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def _done(do: Callable[[Item], Done], item: Item) -> Done:
    try:
        return do(item)
    except SystemExit:  # asked to end: the pool would take it for this item's answer, and give the next
        os._exit(1)


def _begin(begin: Begin | None) -> None:
    end_in_order()
    threading.Thread(target=_end_with_parent, name="ends with parent", daemon=True).start()
    if begin is not None:
        begin[0](*begin[1])


def _end_with_parent() -> None:
    """End this process when its parent has: it would wait for work for ever, and hold its memory."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAST_S)
    os._exit(1)
