"""Fit what a plan asks for and is not there yet, several members side by side."""

from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from med3d_export.age_network.copies import COPIES, make_room, read_copies, vary_head
from med3d_export.age_network.fitting import AgedHeads
from med3d_export.age_network.members import fit_to_file, member_file, require_same_members
from med3d_export.age_network.plan import AgePlan
from med3d_export.processes import start_processes

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

    A run that was stopped goes on. Raises AgeNetworksDiffer where members that are there are of another plan.
    """
    plan, copies = AgePlan.load(plan_file), folder / COPIES
    for fit in plan.fits:
        require_same_members(plan, fit, folder)
    missing = missing_members(plan, folder)
    if not missing:
        return
    part, said = copies.with_suffix(".part"), copies.with_suffix(".sha256")
    if not (copies.is_file() and said.is_file() and said.read_text(encoding="ascii") == plan.copies_digest):
        folder.mkdir(parents=True, exist_ok=True)
        copies.unlink(missing_ok=True)
        said.write_text(plan.copies_digest, encoding="ascii")
        make_room(plan, part)
        for _ in _at_once(jobs, _vary, (plan_file, device), [(row, part) for row in range(len(plan.ages))]):
            pass
        part.replace(copies)
    for done, _ in enumerate(_at_once(jobs, _fit, (plan_file, device), [(*one, folder) for one in missing]), 1):
        on_done(done, len(missing))
    copies.unlink()
    said.unlink()


def _at_once(
    jobs: int, work: Callable[..., None], opened: tuple[Path, str], asked: list[tuple[Any, ...]]
) -> Iterator[None]:
    """Yield whenever one of ``asked`` is done: in this process, or in so many others."""
    if jobs == 1:
        shared = _Shared.open(*opened)
        with _one_thread():
            for one in asked:
                work(shared, *one)
                yield
        return
    # Spawned, not forked: neither torch's threads nor a CUDA context survive a fork.
    with start_processes(jobs, _open, opened, "spawn") as pool:
        for done in as_completed([pool.submit(_work, work, *one) for one in asked]):
            done.result()
            yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as each of several processes does: more threads add up in another order, to other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(eq=False)
class _Shared:
    """What all work of one process shares; the heads are put on the device when the first member is fitted."""

    plan: AgePlan
    device: str
    heads: AgedHeads | None = None

    @classmethod
    def open(cls, plan_file: Path, device: str) -> Self:
        return cls(AgePlan.load(plan_file), device)


def _vary(shared: _Shared, row: int, copies: Path) -> None:
    vary_head(shared.plan, row, shared.device, copies)


def _fit(shared: _Shared, fit: int, member: int, folder: Path) -> None:
    if shared.heads is None:
        shared.heads = AgedHeads.of_plan(shared.plan, read_copies(folder / COPIES), shared.device)
    fit_to_file(shared.plan, shared.heads, shared.plan.fits[fit], member, folder)


_opened: list[_Shared] = []
"""Of a process that a pool has started."""


def _open(plan_file: Path, device: str) -> None:
    torch.set_num_threads(1)
    _opened.append(_Shared.open(plan_file, device))


def _work(work: Callable[..., None], *asked: Any) -> None:
    work(_opened[0], *asked)
