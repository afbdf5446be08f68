"""A worker begins where its store is: before anything is loaded it waits for a folder that is not there yet.

To end instead would be to be started again, and to say it again, each second.
"""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from med3d_store.object_store import ObjectStore, StoreAwayError

log = structlog.get_logger()
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 60.0
REMEDY = (
    "Mount the service's store at this folder, or set MED3D_STORE_URL to the folder where it is mounted. "
    "The service makes the store at its first start; the worker goes on by itself, within a minute."
)


def wait_for_store(url: str, pause: Callable[[float], object] = time.sleep) -> None:
    """Return once a store is where ``url`` says; one that is no folder is not looked at.

    What is seen, and what to do, is logged once, and again where it changes. Raises StoreError for another scheme.
    """
    store = ObjectStore.join(url)
    if store.local_root is None:
        return
    pause_s, told = FIRST_PAUSE_S, ""
    while wrong := _what_is_wrong(store, store.local_root):
        if wrong != told:
            log.error("store_not_there", folder=str(store.local_root), seen=wrong, remedy=REMEDY)
            told = wrong
        pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    if told:
        log.info("store_found")


def _what_is_wrong(store: ObjectStore, folder: Path) -> str:
    try:
        if store.identity() is not None:
            return ""
    except StoreAwayError:
        return "the folder cannot be read by the worker's user"
    return "the folder holds no store: there is no store.id in it" if folder.is_dir() else "there is no such folder"
