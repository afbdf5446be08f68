"""How many threads ITK's filters take. The setting is global to the process, so it is put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk


@contextmanager
def itk_threads(threads: int) -> Iterator[None]:
    """Run what is inside with ``threads`` threads.

    Only filters that work voxel by voxel or line by line are used, which give the same numbers with any.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
