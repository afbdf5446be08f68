"""Whitened codes of the head and of its cubes beside the convolutions, in closed form from the training heads."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.local_codes import LocalCodes
from med3d_export.networks.local_contrast import LocalContrast
from med3d_export.networks.whitening import fit_for_unseen, principal_directions, whitening


class CodePath(nn.Module):
    """``linear_rank`` codes of the whole head, ``local_codes`` of its cubes, and zeros for what is left of the latent.

    With a hundred subjects closed forms are hard to beat, so training starts there. All codes are whitened, and heads
    that the fit has not seen have an average variance of 1 in them, as the prior has.
    spreads: (linear_rank,) how far the codes of the whole head spread before they were whitened, 1 in the mean square.
    """

    spreads: Tensor

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__()
        self.contrast = LocalContrast(mean_head)
        self.whole = nn.Linear(self.contrast.size, config.linear_rank)
        self.local = LocalCodes(mean_head, config)
        self.left = config.latent - config.linear_rank - config.local_codes
        self.register_buffer("spreads", torch.ones(config.linear_rank))

    def views(self, tensor: Tensor, difference: Tensor) -> tuple[Tensor, ...]:
        """Return, of heads (N, 1, X, Y, Z) and their differences from the mean head: what ``forward`` takes."""
        return self.contrast(tensor), self.local(difference)

    def forward(self, whole: Tensor, local: Tensor) -> Tensor:
        """Return latents (N, latent)."""
        codes = torch.cat([self.whole(whole), self.local.to_latent(local)], dim=1)
        return functional.pad(codes, [0, self.left])

    def start_from(self, heads: Tensor, varied: Tensor, difference: Callable[[Tensor], Tensor]) -> None:
        """Take the training heads and varied copies of them, (N, 1, X, Y, Z); ``difference``: from the mean head.

        The copies are for the cubes alone: what copies teach about the whole head makes a real scanner that was not
        among them matter more, not less (docs/decisions/0151).
        """
        with torch.no_grad():
            self.contrast.start_from(heads)
            seen = self.contrast(heads)
            fit_for_unseen(self._fitted, self.whole, seen, seen[:0])
            self.local.start_from(difference(heads), difference(varied))

    def _fitted(self, seen: Tensor, _copies: Tensor) -> nn.Linear:
        """Return principal components of ``seen``, each divided by its own spread."""
        mean = seen.mean(dim=0)
        directions, _ = principal_directions(seen - mean, self.whole.out_features)
        codes = (seen - mean) @ directions.T
        weight = whitening(codes).T @ directions
        self.whole.weight.zero_()
        self.whole.weight[: len(weight)] = weight
        self.whole.bias.copy_(-self.whole.weight @ mean)
        spread = codes.std(dim=0, correction=0)
        self.spreads.zero_()
        self.spreads[: len(spread)] = spread / spread.square().mean().sqrt().clamp_min(1e-12)
        return self.whole
