"""Fit what a plan asks for and is not there yet, several members side by side."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from med3d_export.age_network.fitting import AgedHeads
from med3d_export.age_network.members import fit_to_file, member_file
from med3d_export.age_network.plan import AgePlan

OnDone = Callable[[int, int], object]
"""Hears how many members are fitted, and of how many that were missing."""


def missing_members(plan: AgePlan, folder: Path) -> list[tuple[int, int]]:
    """Fit and member of each that has no file yet, in the plan's order."""
    return [
        (number, member)
        for number, fit in enumerate(plan.fits)
        for member in range(plan.config.members)
        if not member_file(folder, fit.name, member).is_file()
    ]


def fit_missing(plan_file: Path, folder: Path, device: str, jobs: int, on_done: OnDone) -> None:
    """Fit the members that ``folder`` lacks, ``jobs`` at once on one device, a single one here.

    A run that was stopped goes on.
    """
    plan = AgePlan.load(plan_file)
    missing = missing_members(plan, folder)
    if jobs == 1:
        heads = AgedHeads.on(device, plan.tensors, plan.ages, plan.sites)
        for done, (fit, member) in enumerate(missing, 1):
            fit_to_file(plan, heads, plan.fits[fit], member, folder)
            on_done(done, len(missing))
        return
    # Spawned, not forked: neither torch's threads nor a CUDA context survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_open, initargs=(plan_file, device)) as pool:
        submitted = [pool.submit(_fit, fit, member, folder) for fit, member in missing]
        for done, fitted in enumerate(as_completed(submitted), 1):
            fitted.result()
            on_done(done, len(missing))


# What every fit of one worker process shares.
_shared: list[tuple[AgePlan, AgedHeads]] = []


def _open(plan_file: Path, device: str) -> None:
    torch.set_num_threads(1)
    plan = AgePlan.load(plan_file)
    _shared.append((plan, AgedHeads.on(device, plan.tensors, plan.ages, plan.sites)))


def _fit(fit: int, member: int, folder: Path) -> None:
    plan, heads = _shared[0]
    fit_to_file(plan, heads, plan.fits[fit], member, folder)
