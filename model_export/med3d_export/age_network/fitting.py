"""Fitting one member: drawn batches of varied heads, AdamW with one cycle of the learning rate."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.age_network.network import AgeNetwork, loss_of
from med3d_export.age_network.plan import AgePlan

Rows = npt.NDArray[np.int64]
ASKED_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class AgedHeads:
    """On the device: images (N, 1, X, Y, Z), copies (N, C, x, y, z) float16, ages (N,) years, chances (N,).

    chances: how often each head is drawn, in proportion. A site's heads are drawn by the square root of their number,
    all together.
    """

    images: Tensor
    copies: Tensor
    ages: Tensor
    chances: Tensor

    @classmethod
    def of_plan(cls, plan: AgePlan, copies: npt.NDArray[np.float16], device: str) -> Self:
        """Make it from a plan and the varied copies of its heads."""
        _, place, counts = np.unique(plan.sites, return_inverse=True, return_counts=True)
        chances = counts[place] ** -0.5
        return cls(
            torch.from_numpy(plan.tensors)[:, None].to(device),
            torch.from_numpy(copies).to(device),
            torch.from_numpy(plan.ages.astype(np.float32)).to(device),
            torch.from_numpy(chances.astype(np.float32)).to(device),
        )


def fit_member(heads: AgedHeads, rows: Rows, config: AgeNetworkConfig, seed: int) -> AgeNetwork:
    """Fit a network to ``rows`` of ``heads``, on the device where they lie, and return it in eval mode."""
    device = heads.images.device
    own = torch.from_numpy(rows).to(device)
    ages = heads.ages[own]
    torch.manual_seed(seed)
    network = AgeNetwork(config)
    network.to(device, memory_format=torch.channels_last_3d)
    network.mean_years.copy_(ages.mean())
    network.sd_years.copy_(ages.std())
    targets = (heads.ages - network.mean_years) / network.sd_years
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.15
    )
    chance = torch.Generator(device).manual_seed(seed)
    for _ in range(config.steps):
        drawn = own[torch.multinomial(heads.chances[own], config.batch, replacement=True, generator=chance)]
        copies = torch.randint(config.copies, (config.batch,), generator=chance, device=device)
        images = heads.copies[drawn, copies][:, None].float()
        with _short_floats(device):
            found = network.standardised(images.to(memory_format=torch.channels_last_3d))
        optimiser.zero_grad(set_to_none=True)
        loss_of(found, targets[drawn]).backward()
        optimiser.step()
        schedule.step()
    network.eval()
    return network


def ask(network: AgeNetwork, images: Tensor) -> npt.NDArray[np.float32]:
    """Return years (N,) for images (N, 1, X, Y, Z) of any float dtype, with 32 bits, as a bundle computes them."""
    with torch.no_grad():
        found = torch.cat([network(part.float()) for part in images.split(ASKED_AT_ONCE)])
    years: npt.NDArray[np.float32] = found.cpu().numpy()
    return years


def _short_floats(device: torch.device) -> torch.autocast:
    """GPUs multiply bfloat16 many times faster, some CPUs twice; on one without such units it would be slower."""
    quicker = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - no other way
    return torch.autocast(device.type, torch.bfloat16, enabled=quicker)
