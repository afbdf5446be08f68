"""How many threads ITK's filters take. The setting is global to the process, so it is put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk


@contextmanager
def itk_threads(threads: int) -> Iterator[None]:
    """Run what is inside with ``threads`` threads.

    Filters that work voxel by voxel or line by line give the same numbers with any. N4 does not: it adds up its
    B-splines per thread, so it takes one.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
