"""Varied copies of every head, made once for all fits: varying takes longer than a step of the networks."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from med3d_export.age_network.network import within
from med3d_export.age_network.plan import AgePlan
from med3d_export.augmentation import Augmentation, vary_some_at_a_time

COPIES = "copies.npy"
"""Beside the members while they are fitted: heads (N, C, x, y, z) float16, without the margin."""


def make_room(plan: AgePlan, path: Path) -> None:
    """Make a file of the right size, empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    heads, *shape = within(torch.empty(plan.tensors.shape, device="meta"), plan.config.margin).shape
    np.lib.format.open_memmap(path, "w+", np.float16, (heads, plan.config.copies, *shape)).flush()


def vary_head(plan: AgePlan, row: int, device: str, path: Path) -> None:
    """Put the copies of one head in their place; each head has draws of its own, whoever makes them."""
    chance = torch.Generator(device).manual_seed(plan.fits[0].seed + row)
    head = torch.from_numpy(plan.tensors[row].astype(np.float32)).to(device)
    several = head.expand(plan.config.copies, 1, *head.shape)
    varied = vary_some_at_a_time(several, Augmentation(plan.config.augmentation), chance)[:, 0]
    np.load(path, mmap_mode="r+")[row] = within(varied, plan.config.margin).half().cpu().numpy()


def read_copies(path: Path) -> npt.NDArray[np.float16]:
    """Return them without reading them: processes side by side share what lies in memory."""
    copies: npt.NDArray[np.float16] = np.load(path, mmap_mode="c")
    return copies
