"""How many threads the libraries of linear algebra may take, which are loaded later."""

import os
from collections.abc import MutableMapping

_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_library_threads(threads: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Let them take ``threads`` in this process and its children; what the operator has set stays.

    Each takes a thread per core otherwise, and so many in each of a host's workers. They read it as they are loaded, so
    call this before numpy is imported.
    """
    for name in _SETTINGS:
        environment.setdefault(name, str(threads))
